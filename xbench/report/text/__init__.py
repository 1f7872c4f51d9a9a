"""Sentences, from results."""
