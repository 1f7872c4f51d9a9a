"""What papers say, held against runs; prints nothing."""
