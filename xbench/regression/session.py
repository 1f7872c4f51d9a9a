"""What the measurements of one check share: where they are kept and shown, and how sure they have to be."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from xbench.analysis.results import EXPLANATIONS, Results
from xbench.files.run_folders import LEDGER, new_folder
from xbench.metrics.definitions import METRICS
from xbench.records.ledger import Ledger
from xbench.runner.progress import Observer, RunLimits
from xbench.runner.runner import run_study
from xbench.study.study import Study

RERUN = "rerun"  # a folder of its own, so that nothing of the first run counts


@dataclass(frozen=True)
class Session:
    """Measures studies.

    Attributes:
        out: where the records go; a new folder under ``results/runs`` where none is named.
        observing: gives who sees the run of a study, as long as the context lasts.
        effect: the relative slow-down that is allowed.
    """

    out: Path | None
    observing: Callable[[Study], AbstractContextManager[Observer]]
    effect: float
    limits: RunLimits | None = None

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
        with self.observing(study) as observer, ledger.alone(observer.waiting):
            return run_study(study, ledger, observer, self.limits, self.effect)


def gated(study: Study) -> Study:
    """The study as a check measures it: with its control, and without what only explains."""
    metrics = tuple(name for name in study.metrics if name not in EXPLANATIONS)
    return replace(study, metrics=metrics, quick=False, name="check")


def timed_metrics(study: Study) -> tuple[str, ...]:
    """Those of a study that a rerun is about."""
    return tuple(name for name in study.metrics if METRICS[name].how == "timed")
