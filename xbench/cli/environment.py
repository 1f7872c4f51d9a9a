"""The verb that gives a user's own script the settings that figures were taken under: env."""

import os
import shlex
from typing import Annotated

import typer

from xbench.cli.app import app


@app.command()
def env(
    policy: Annotated[str, typer.Argument(help="As in compare --policy: tuned, stock, jemalloc, …")] = "tuned",
) -> None:
    """The settings of a policy, for a shell: a script that is started after it runs as the workers of a run do.

    eval "$(xbench env)"

    eval "$(xbench env stock)"   # as before
    """
    from xbench.processes.policy import POLICIES, find_policy

    chosen = find_policy(policy)
    settings = chosen.environment()
    others = {name for other in POLICIES.values() for name in other.settings} - set(settings)
    typer.echo(f"# {policy}: {chosen.summary}")
    for name in sorted(others & set(os.environ)):
        typer.echo(f"unset {name}")
    for name, value in settings.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
