"""Figures and conditions as words; computes nothing."""
