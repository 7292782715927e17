"""Retrieval: encoders, the index, neighbours, their vote, and the prompts made of them."""
