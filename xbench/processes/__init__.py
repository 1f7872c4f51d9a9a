"""Starts and ends children; knows no case."""
