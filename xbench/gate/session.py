"""What the measurements of one check share: where they are kept and shown, and how sure they have to be."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rich.console import Console

from xbench.metrics import METRICS
from xbench.records import Ledger
from xbench.report.live import Display
from xbench.results import EXPLANATIONS, Results
from xbench.runner import Runner
from xbench.runs import LEDGER, new_folder
from xbench.study import Study
from xbench.watch import Limits

RERUN = "rerun"  # a folder of its own, so that nothing of the first run counts


@dataclass(frozen=True)
class Session:
    """Measures studies.

    Attributes:
        out: where the records go; a new folder under ``results/runs`` where none is named.
        effect: the relative slow-down that is allowed.
    """

    out: Path | None
    console: Console
    effect: float
    limits: Limits | None = None

    @cached_property
    def folder(self) -> Path:
        """Holds the records. Not made before there is something to measure: a mistake leaves nothing behind."""
        return self.out or new_folder("check")

    def measure(self, study: Study, part: str = "") -> Results:
        """The study, into the records of the check or of a ``part`` of it.

        Raises:
            UserError: see ``Runner.run``.
        """
        ledger = Ledger(self.folder / part / LEDGER)
        with (
            ledger.alone(lambda text: self.console.print(text, soft_wrap=True)),
            Display(study, self.console) as display,
        ):
            runner = Runner(study, ledger, display, self.limits, self.effect)
            runner.run()
        return runner.results()


def gated(study: Study) -> Study:
    """The study as a check measures it: with its control, and without what only explains."""
    metrics = tuple(name for name in study.metrics if name not in EXPLANATIONS)
    return replace(study, metrics=metrics, quick=False, name="check")


def timed_metrics(study: Study) -> tuple[str, ...]:
    """Those of a study that a rerun is about."""
    return tuple(name for name in study.metrics if METRICS[name].how == "timed")
