"""Everything that is known of a case on paper, before any time is spent: parameters, MACs, memory, whether it can be.

One worker surveys all cases that share their code, on the meta device, where a tensor has a shape and no data.
"""

from typing import Any

from xbench.checkout import Checkout
from xbench.crew import Bench
from xbench.process import ArmError, ArmProcess
from xbench.study import Case


class Surveyor:
    """Answers for any case, by a worker for each checkout. One that dies takes only the case asked about with it."""

    def __init__(self, bench: Bench):
        self._bench = bench
        self._processes: dict[Checkout | None, ArmProcess] = {}
        self._refused: dict[Any, ArmError] = {}

    def vouch(self, case: Case) -> None:
        """Checks the attention of the case, once, and notes what is to be known of it in the book.

        Raises:
            ArmError: it did not get through the checks; every case with it ends so.
        """
        code, notes = case.arm.code, self._bench.book.notes
        if code in self._refused:
            raise self._refused[code]
        if code in notes:
            return
        try:
            notes[code] = self._ask(case, "checking the attention", "vouch", attn=case.arm.attn, size=case.size)
        except ArmError as end:
            self._refused[code] = end
            raise
        self._bench.observer.noted(case, notes[code])

    def survey(self, case: Case, *, cross_check: bool = False) -> dict[str, Any]:
        """The answer of ``Worker.survey``.

        Raises:
            ArmError: the case is impossible, or cannot be counted.
        """
        return self._ask(case, "counting on paper", "survey", case=case.request(), cross_check=cross_check)

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
        return self._ask(case, "measuring the machine", "limits", case=case.request())

    def _ask(self, case: Case, doing: str, do: str, /, **arguments: Any) -> Any:
        self._bench.observer.doing(case, doing)
        process = self._processes.get(case.arm.checkout)
        if process is None or not process.alive:
            with self._bench.clock.counting("start"):
                process = ArmProcess(case, self._bench.memory_limit, self._bench.turn_seconds)
            self._processes[case.arm.checkout] = process
        with self._bench.clock.counting("model"):
            return process.ask(do, **arguments)

    def __enter__(self) -> "Surveyor":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.stop()
