"""A finished specialist, loaded and ready to answer."""
