"""The gate: did anything become slower, larger or impossible? Against another commit, or a committed baseline."""
