"""What a run shows while it runs, on standard error: a live panel on a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from xbench.metrics import METRICS
from xbench.records import Record
from xbench.report.numbers import show_count, show_interval, show_number, show_seconds
from xbench.study import Case, Study, show_img_size
from xbench.watch import Progress


class Display:
    """Observes a run. Use as a context manager; nothing is drawn before it is entered."""

    def __init__(self, study: Study, console: Console):
        self._study = study
        self._console = console
        self._began = time.monotonic()
        self._doing = "starting"
        self._progress: dict[str, Progress] = {}
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

    def doing(self, case: Case, what: str) -> None:
        self._doing = f"{show_img_size(case.img_size)} px · {case.arm.label} · {what}"

    def advanced(self, progress: Progress) -> None:
        self._progress[str(progress.conditions)] = progress
        self._left, self._left_at = progress.seconds_left, time.monotonic()
        if not self._console.is_terminal:
            self._console.print(Text(f"{self._line(progress)} · {self._time()}"), soft_wrap=True)

    def noted(self, case: Case, notes: dict[str, str]) -> None:
        for what, text in notes.items():
            self._say(f"{case.arm.label} is {what}: {text}")

    def recorded(self, records: list[Record]) -> None:
        for record in records:
            if record.case and record.status != "ok" and record.metric == records[0].metric:
                self._say(f"{self._where(record)}: {record.status}: {record.reason}")
            elif record.case and METRICS[record.metric].exact and record.samples:
                self._say(f"{self._where(record)}: {METRICS[record.metric].label} {_exact(record)}")

    def _say(self, line: str) -> None:
        self._console.print(Text(line, style="dim"), soft_wrap=True)

    def _where(self, record: Record) -> str:
        return f"{show_img_size(record.case['img_size'])} px · {record.case['arm']}"

    def _draw(self) -> Any:
        lines = [Text(self._line(progress)) for progress in self._progress.values()]
        self._spinner.update(text=Text(f"{self._doing} · {self._time()}"))
        return Group(*lines, self._spinner)

    def _line(self, progress: Progress) -> str:
        sizes = show_img_size(progress.conditions["img_size"])
        ratios = " · ".join(f"{label} {show_interval(times)}" for label, times in progress.ratios.items())
        against = f"speed × {self._study.against}: {ratios}" if ratios else "one arm"
        return f"{sizes} px · launch {progress.launch} of {progress.planned} · {against}"

    def _time(self) -> str:
        now = time.monotonic()
        passed = f"{show_seconds(now - self._began)} so far"
        if self._left is None:
            return passed
        return f"{passed}, about {show_seconds(max(0.0, self._left - (now - self._left_at)))} left"


def _exact(record: Record) -> str:
    value = record.samples[0]
    return f"{show_number(value, 4)} MiB" if record.unit == "MiB" else show_count(value)
