"""What answers requests: one file an engine, each behind one method."""
