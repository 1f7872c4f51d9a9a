"""Numbers in, numbers out. Imports nothing of xbench."""
