"""One file a method; each is discovered."""
