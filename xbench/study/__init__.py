"""The question and its points; runs nothing."""
