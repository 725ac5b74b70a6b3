"""The torch half: trunk, stack, loop, cross-validation."""
