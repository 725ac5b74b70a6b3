"""The numpy half: every statistical rule, and the report."""
