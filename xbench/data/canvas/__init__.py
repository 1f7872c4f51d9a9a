"""Digits far apart among clutter, the label a relation between them."""
