"""How a product becomes a label path: one file a strategy."""
