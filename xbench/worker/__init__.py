"""Answers the requests of one process."""
