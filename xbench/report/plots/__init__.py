"""Plots, from results."""
