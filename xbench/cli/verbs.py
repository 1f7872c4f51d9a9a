"""All verbs, which importing them registers with the application, in the order that help lists them in."""

from xbench.cli.app import app

# isort: off
from xbench.cli import study, environment, runs, training, attentions, summary, claims, check, exchange, history  # noqa: F401

__all__ = ["app"]
