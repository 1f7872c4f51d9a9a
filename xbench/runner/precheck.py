"""Everything that is known of a case on paper, before any time is spent: parameters, MACs, memory, whether it can be.

One worker surveys all cases that share their code, on the meta device, where a tensor has a shape and no data. What
does not run there is counted with real tensors, and what cannot be counted at all is measured all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xbench.processes.checkout import Checkout
from xbench.processes.parent import ArmError
from xbench.runner.arm_process import ArmProcess
from xbench.runner.workers import Setup
from xbench.study.case import Case


@dataclass(frozen=True)
class Precheck:
    """What is known of a case without measuring it.

    Attributes:
        params: the number of parameters.
        cost: ``metrics.counting.cost.Cost`` of one image as a dictionary; None where it could not be counted.
        memory: ``metrics.counting.tally.Footprint`` of a step as a dictionary; None where it could not be predicted.
        missing: by metric, why there is no figure.
    """

    params: int
    cost: dict[str, Any] | None
    memory: dict[str, int] | None
    missing: dict[str, ArmError]

    @property
    def figures(self) -> dict[str, tuple[float | None, dict[str, Any]]]:
        """By metric the figure, None where there is none, and what else is known of it."""
        cost, memory = self.cost or {}, self.memory or {}
        return {
            "params": (self.params, {}),
            "macs": (cost.get("macs"), {**cost, **memory}),
            "predicted_memory": (memory["total"] / 2**20 if memory else None, memory),
        }


def _as_precheck(answer: dict[str, Any]) -> Precheck:
    """A worker's answer; one of an older checkout does not say why it predicts no memory."""
    cost, memory = answer["cost"], answer["predicted_memory"]
    why = ArmError("unsupported", answer.get("unknown_memory") or "memory cannot be predicted for it")
    return Precheck(cost["params"], cost, memory, {} if memory else {"predicted_memory": why})


class Prechecks:
    """Answers for any case, by a worker for each checkout. One that dies takes only the case asked about with it."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._processes: dict[Checkout | None, ArmProcess] = {}
        self._vouched: dict[Any, dict[str, str]] = {}
        self._refused: dict[Any, ArmError] = {}
        self._not_on_paper: dict[Any, ArmError] = {}
        self._limits: dict[tuple[str, int], dict[str, Any]] = {}

    def vouch(self, case: Case) -> dict[str, str]:
        """Checks the attention of the case, once, and gives what is to be known of it.

        Raises:
            ArmError: it did not get through the checks; every case with it ends so.
        """
        code = case.arm.code
        if code in self._refused:
            raise self._refused[code]
        if code not in self._vouched:
            try:
                notes = self._ask(case, "checking the attention", "vouch", attn=case.arm.attn, size=case.size)
            except ArmError as end:
                self._refused[code] = end
                raise
            self._vouched[code] = notes
            self._setup.observer.noted(case, notes)
        return self._vouched[code]

    def of(self, case: Case, *, cross_check: bool = False) -> Precheck:
        """What is known of the case on paper; with real tensors, where it does not run on the meta device.

        Raises:
            ArmError: the case is impossible: it cannot be built, or refuses what it is given.
        """
        asked = {"case": case.request(), "cross_check": cross_check}
        code = case.arm.baseline, case.arm.code
        if code not in self._not_on_paper:
            try:
                return _as_precheck(self._ask(case, "counting on paper", "survey", **asked))
            except ArmError as end:
                if end.status == "unsupported":
                    raise
                if end.status == "timeout":
                    return self._uncounted(case, end)
                self._not_on_paper[code] = end
        try:
            return _as_precheck(self._ask_afresh(case, cross_check))
        except ArmError as end:
            if end.status == "unsupported":
                raise
            on_paper = self._not_on_paper[code]
            before = "" if on_paper.reason == end.reason else f"; on paper, {on_paper.reason}"
            return self._uncounted(case, ArmError(end.status, end.reason + before))

    def _uncounted(self, case: Case, why: ArmError) -> Precheck:
        """Parameters alone, which need no run."""
        try:
            params = self._ask(case, "counting parameters", "params", case=case.request())
        except ArmError as end:
            # A worker of an older checkout cannot be asked.
            raise end if end.status == "unsupported" else why from end
        return Precheck(params, None, None, {"macs": why, "predicted_memory": why})

    def check_fits(self, case: Case, memory: dict[str, int] | None) -> None:
        """Refuses to run what needs more memory than there is: of eager inference the prediction is a lower bound.

        Raises:
            ArmError: the case is impossible.
        """
        limit = self._setup.memory_limit
        bound = (case.device, case.arm.mode, case.direction) == ("cpu", "eager", "inference")
        if bound and memory and memory["total"] > limit:
            needed = f"{memory['total'] / 2**30:,.1f} GiB"
            raise ArmError("unsupported", f"needs at least {needed} of memory; the limit is {limit / 2**30:,.1f} GiB")

    def limits(self, case: Case) -> dict[str, Any]:
        """The machine's own limits, see ``metrics.machine``, with the dtype and threads of the case; measured once."""
        key = (case.dtype, case.threads)
        if key not in self._limits:
            self._limits[key] = self._ask(case, "measuring the machine", "limits", case=case.request())
        return self._limits[key]

    def _ask(self, case: Case, doing: str, do: str, /, **arguments: Any) -> Any:
        self._setup.observer.doing(case, doing)
        return twice(lambda: self._answer(case, do, **arguments))

    def _answer(self, case: Case, do: str, /, **arguments: Any) -> Any:
        process = self._processes.get(case.arm.checkout)
        if process is None or not process.alive:
            process = self._processes[case.arm.checkout] = self._start(case)
        with self._setup.clock.counting("model"):
            return process.ask(do, **arguments)

    def _ask_afresh(self, case: Case, cross_check: bool) -> Any:
        """The answer of ``Worker.survey_in_truth``, by a process of its own."""
        self._setup.observer.doing(case, "counting with real tensors")
        return twice(lambda: self._answer_afresh(case, cross_check))

    def _answer_afresh(self, case: Case, cross_check: bool) -> Any:
        process = self._start(case)
        try:
            with self._setup.clock.counting("model"):
                asked = {"case": case.request(), "cross_check": cross_check, "photos": self._setup.photos_of(case)}
                return process.ask("survey_in_truth", **asked)
        finally:
            process.stop()

    def _start(self, case: Case) -> ArmProcess:
        with self._setup.clock.counting("start"):
            return ArmProcess(case, self._setup.memory_limit, self._setup.turn_seconds)

    def __enter__(self) -> "Prechecks":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.stop()


def twice(attempt: Callable[[], Any]) -> Any:
    """The attempt's answer, or that of a second one where the first ended through other processes' doing.

    Raises:
        ArmError: of the last attempt.
    """
    try:
        return attempt()
    except ArmError as end:
        if not end.by_others:
            raise
    try:
        return attempt()
    except ArmError as end:
        raise end.of_second_attempt() if end.by_others else end from None


def process_bytes(peak: int) -> int:
    """What a worker will about hold in all whose tensors have that peak: itself, and a heap with holes."""
    return 300 * 2**20 + 2 * peak
