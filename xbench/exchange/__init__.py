"""Records in the formats of other tools: pytest-benchmark, asv, Bencher. One file per tool."""
