"""What a run shows while it runs, on standard error: a live panel on a terminal, plain lines elsewhere.

Of a study with few cases every exact figure is shown as it comes; of a sweep, how many cases have theirs.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from xbench.analysis.counted import exact_figure
from xbench.metrics.definitions import METRICS, PROBES
from xbench.records.record import Record
from xbench.runner.progress import Plan, Progress
from xbench.statistics.estimates import Estimate
from xbench.study.case import Case
from xbench.study.conditions import Conditions
from xbench.study.study import LOOK_LAUNCHES, Study
from xbench.wording.conditions import alike, conditions_line
from xbench.wording.numbers import show_counted, show_interval, show_number, show_seconds

FEW_CASES = 12  # up to which every figure and every failure gets a line of its own
FEW_ARMS = 4  # up to which every ratio is shown as it comes
SHOWN = 6  # comparison groups in the panel: those that advanced last
STAGES = {"static": "figures on paper", "exact": "figures of a run"}


class Display:
    """Observes a run. Use as a context manager; nothing is drawn before it is entered."""

    def __init__(self, study: Study, console: Console):
        self._study = study
        self._console = console
        cases = list(study.cases())
        self._alike = alike([case.conditions for case in cases])
        self._cases = sum(not case.arm.control for case in cases)
        self._done: dict[str, set[str]] = {stage: set() for stage in STAGES}
        self._failed = 0
        self._began = time.monotonic()
        self._doing = "starting"
        self._progress: dict[Conditions, Progress] = {}
        self._learning: dict[str, str] = {}
        self._left: float | None = None
        self._left_at = self._began
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def waiting(self, why: str) -> None:
        self._doing = why
        self._say(why)

    def planned(self, plan: Callable[[], Plan]) -> None:
        self._say_plan(plan())

    def _say_plan(self, plan: Plan) -> None:
        if not plan.cases:
            return
        arms, places = len(self._study.arms), -(-plan.cases // len(self._study.arms))
        what = f"To do: {_many(arms, 'arm')} in {_many(places, 'comparison')}"
        parts = [f"about {show_seconds(plan.seconds)} to measure"] if plan.seconds else []
        parts += [f"about {show_seconds(plan.training_seconds)} to train {plan.models:,} models"] if plan.models else []
        self._say(f"{what}, {', then '.join(parts)}.")

    def doing(self, case: Case, what: str) -> None:
        self._doing = f"{self._where(case.conditions, case.arm.label)} · {what}"

    def advanced(self, progress: Progress) -> None:
        self._progress.pop(progress.conditions, None)
        self._progress[progress.conditions] = progress
        self._left, self._left_at = progress.seconds_left, time.monotonic()
        if not self._console.is_terminal:
            self._console.print(Text(f"{self._line(progress)} · {self._time()}"), soft_wrap=True)

    def learning(self, case: Case, metric: str, seed: int, step: dict[str, Any]) -> None:
        self._left = None  # what was known is the time of launches
        probed = metric in PROBES
        epoch = "" if probed else f"epoch {step['epoch']} of {step['epochs']}, "
        unit, most = ("grids/s", "at most ") if probed else ("img/s", "")
        done = f"{epoch}step {step['step']} of {most}{step['steps']}"
        left = f"{most}{show_seconds(step['seconds_left'])} left"
        speed = f"{show_number(step['images_per_second'], 3)} {unit}, {left}"
        where = self._where(case.conditions, case.arm.label, METRICS[metric].label, f"seed {seed}")
        self._learning[where] = f"{where} · training: {done} · loss {show_number(step['loss'], 3)} · {speed}"

    def noted(self, case: Case, notes: dict[str, str]) -> None:
        for what, text in notes.items():
            self._say(f"{case.arm.label} is {what}: {text}")

    def recorded(self, records: list[Record]) -> None:
        few = self._cases <= FEW_CASES
        ended: set[str] = set()
        for record in records:
            if not record.case:
                continue
            where = self._where(Conditions.of(record.case), record.case["arm"])
            trained = METRICS[record.metric].how == "trained"
            if trained:
                where = f"{where} · {METRICS[record.metric].label} · seed {record.launch}"
                self._learning.pop(where, None)
            if record.status != "ok" and where not in ended:
                ended.add(where)
                self._end(f"{where}: {record.status}: {record.reason}")
            elif trained:
                self._say(f"{where}: {record.samples[0]:.1f} % · {self._time()}")
            elif few and METRICS[record.metric].exact and record.samples:
                self._say(f"{where}: {METRICS[record.metric].label} {_exact(record)}")
        if not few:
            self._count(records)

    def _end(self, line: str) -> None:
        self._failed += 1
        if self._failed <= FEW_CASES:
            self._say(line)
        elif self._failed == FEW_CASES + 1:
            self._say("What else fails stands in the report.")

    def _count(self, records: list[Record]) -> None:
        """Says of each stage how far it is, on a terminal in the panel, elsewhere at every tenth of the cases."""
        for stage, done in self._done.items():
            before = len(done)
            done |= {r.place for r in records if r.case and METRICS[r.metric].how == stage and not r.case["control"]}
            tenths = [10 * count // self._cases for count in (before, len(done))]
            if tenths[0] != tenths[1] and not self._console.is_terminal:
                self._say(f"{self._stage(stage)} · {self._time()}")

    def _stage(self, stage: str) -> str:
        return f"{STAGES[stage]}: {len(self._done[stage]):,} of {self._cases:,} cases"

    def _say(self, line: str) -> None:
        self._console.print(Text(line, style="dim"), soft_wrap=True)

    def _where(self, conditions: Conditions, *rest: str) -> str:
        """The extent and what else differs within the study."""
        return " · ".join([conditions_line(conditions, but=self._alike), *rest])

    def _draw(self) -> Any:
        many = self._cases > FEW_CASES
        lines = [Text(self._stage(stage)) for stage, done in self._done.items() if many and 0 < len(done) < self._cases]
        lines += [Text(self._line(progress)) for progress in list(self._progress.values())[-SHOWN:]]
        lines += [Text(line) for line in self._learning.values()]
        self._spinner.update(text=Text(f"{self._doing} · {self._time()}"))
        return Group(*lines, self._spinner)

    def _line(self, progress: Progress) -> str:
        ratios = " · ".join(self._ratios(progress))
        against = f"speed × {self._study.against}: {ratios}" if ratios else "one arm"
        return f"{self._where(progress.conditions)} · launch {progress.launch} of {progress.planned} · {against}"

    def _ratios(self, progress: Progress) -> list[str]:
        """Every ratio; of many arms the extremes, and how far the widest interval is from being narrow enough."""
        if len(self._study.arms) <= FEW_ARMS:
            # Of fewer launches an interval says nothing yet.
            show = show_interval if progress.launch >= LOOK_LAUNCHES else _value
            return [f"{label} {show(times)}" for label, times in progress.ratios.items()]
        own = {arm.label: times for arm in self._study.arms if (times := progress.ratios.get(arm.label))}
        if not own:
            return []
        ends = {
            "slowest": min(own, key=lambda arm: own[arm].value),
            "fastest": max(own, key=lambda arm: own[arm].value),
        }
        widest = max(times.half_width for times in progress.ratios.values())
        interval = f"±{math.expm1(widest):.0%}" if math.isfinite(widest) else "not known yet"
        named = [f"{word} {arm} {show_number(own[arm].value, 2)}" for word, arm in ends.items()]
        return [", ".join([*named, f"widest interval {interval}"])]

    def _time(self) -> str:
        now = time.monotonic()
        passed = f"{show_seconds(now - self._began)} so far"
        if self._left is None:
            return passed
        return f"{passed}, about {show_seconds(max(0.0, self._left - (now - self._left_at)))} left"


def _value(times: Estimate) -> str:
    return show_number(times.value, 2)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _exact(record: Record) -> str:
    value = record.samples[0]
    if record.unit == "MiB":
        return f"{show_number(value, 4)} MiB"
    return f"{value:,.0f}" if record.metric == "max_batch" else show_counted(exact_figure(record))
