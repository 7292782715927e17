"""What goes wrong while the command works, on purpose: ``python -m benchmarks.chaos``."""
