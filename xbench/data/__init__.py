"""Data sets and inputs."""
