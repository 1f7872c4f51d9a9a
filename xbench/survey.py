"""Everything that is known of a case on paper, before any time is spent: parameters, MACs, memory, whether it can be.

One worker surveys all cases of a study, on the meta device, where a tensor has a shape and no data.
"""

from typing import Any

from xbench.crew import Bench
from xbench.process import ArmError, ArmProcess
from xbench.study import Case


class Surveyor:
    """A worker that answers for any case. One that dies takes only the case it was asked about with it."""

    def __init__(self, bench: Bench):
        self._bench = bench
        self._process: ArmProcess | None = None
        self._refused: dict[str | None, ArmError] = {}

    def vouch(self, case: Case) -> None:
        """Checks the attention of the case, once, and notes what is to be known of it in the book.

        Raises:
            ArmError: it did not get through the checks; every case with it ends so.
        """
        attn, notes = case.arm.attn, self._bench.book.notes
        if attn in self._refused:
            raise self._refused[attn]
        if attn in notes:
            return
        try:
            notes[attn] = self._ask(case, "checking the attention", "vouch", attn=attn, size=case.size)
        except ArmError as end:
            self._refused[attn] = end
            raise
        self._bench.observer.noted(case, notes[attn])

    def survey(self, case: Case, *, cross_check: bool = False) -> dict[str, Any]:
        """The answer of ``Worker.survey``.

        Raises:
            ArmError: the case is impossible, or cannot be counted.
        """
        return self._ask(case, "counting on paper", "survey", case=case.flat(), cross_check=cross_check)

    def check_fits(self, case: Case, memory: dict[str, int] | None) -> None:
        """Refuses to run what needs more memory than there is: of eager inference the prediction is a lower bound.

        Raises:
            ArmError: the case is impossible.
        """
        limit = self._bench.memory_limit
        bound = (case.device, case.arm.mode, case.direction) == ("cpu", "eager", "inference")
        if bound and memory and memory["total"] > limit:
            needed = f"{memory['total'] / 2**30:,.1f} GiB"
            raise ArmError("unsupported", f"needs at least {needed} of memory; the limit is {limit / 2**30:,.1f} GiB")

    def limits(self, case: Case) -> dict[str, Any]:
        """The machine's own limits, see ``metrics.limits``, with the dtype and threads of the case."""
        return self._ask(case, "measuring the machine", "limits", case=case.flat())

    def _ask(self, case: Case, doing: str, do: str, /, **arguments: Any) -> Any:
        self._bench.observer.doing(case, doing)
        if self._process is None or not self._process.alive:
            with self._bench.clock.counting("start"):
                self._process = ArmProcess(case, self._bench.memory_limit, self._bench.turn_seconds)
        with self._bench.clock.counting("model"):
            return self._process.ask(do, **arguments)

    def __enter__(self) -> "Surveyor":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
