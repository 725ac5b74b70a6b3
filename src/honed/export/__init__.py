"""A measured specialist in the formats of other programs, and what those programs make of it."""
