"""The command line. Each verb is a thin function whose docstring is its help."""

from xbench.cli.app import app
from xbench.command import main

# Each registers its verbs with the application, which lists them in this order.
# isort: off
from xbench.cli import measure, environment, runs, training, attentions, claims, gate, exchange, history  # noqa: F401

__all__ = ["app", "main"]
