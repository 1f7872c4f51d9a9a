"""One measurement in one process."""
