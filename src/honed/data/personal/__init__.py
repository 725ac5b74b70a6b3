"""Personal data in texts: found by pattern, checksum and context, masked where shown, pseudonymised in copies."""
