"""Web search: what providers find of descriptions, into a cache."""
