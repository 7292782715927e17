"""Fine-tuning an open model: what it learns from."""
