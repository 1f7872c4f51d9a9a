"""Where a process finds other code than the controller's."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Checkout:
    """Where a worker finds other code than the controller's.

    Attributes:
        ref: the commit as the user named it.
        commit: its full hash.
        folder: where the worker stands: the counterpart of the folder that the user stands in.
        path: folders that go before all others on PYTHONPATH.
        python: the interpreter, and with it the libraries.
        versions: of those.
    """

    ref: str
    commit: str
    folder: str
    path: tuple[str, ...]
    python: str
    versions: tuple[tuple[str, str], ...] = ()

    def environment(self, inherited: dict[str, str]) -> dict[str, str]:
        """The environment with this checkout's code before all other."""
        path = os.pathsep.join(filter(None, [*self.path, inherited.get("PYTHONPATH", "")]))
        return {**inherited, "PYTHONPATH": path} if path else inherited
