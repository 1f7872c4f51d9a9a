"""Data sets that lie on disk."""
