"""The command line: parses, calls, prints. Each verb is a thin function whose docstring is its help."""
