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

    def survey(self, case: Case, *, cross_check: bool) -> dict[str, Any]:
        """The answer of ``Worker.survey``; notes of an attention that the book has none of yet go into the book.

        Raises:
            ArmError: the case is impossible, or cannot be counted.
        """
        process = self._started(case)
        notes = self._bench.book.notes
        with self._bench.clock.counting("model"):
            if case.arm.attn not in notes:
                self._bench.observer.doing(case, "checking the attention")
                notes[case.arm.attn] = process.ask("vouch", attn=case.arm.attn, size=case.size)
                self._bench.observer.noted(case, notes[case.arm.attn])
            self._bench.observer.doing(case, "counting on paper")
            return process.ask("survey", case=case.flat(), cross_check=cross_check)

    def check_fits(self, case: Case, needed: int) -> None:
        """Refuses to run what needs more memory than there is. The prediction is a lower bound in eager mode.

        Raises:
            ArmError: the case is impossible.
        """
        limit = self._bench.memory_limit
        if needed > limit and (case.device, case.arm.mode) == ("cpu", "eager"):
            reason = f"needs at least {needed / 2**30:,.1f} GiB of memory; the limit is {limit / 2**30:,.1f} GiB"
            raise ArmError("unsupported", reason)

    def limits(self, case: Case) -> dict[str, Any]:
        """The machine's own limits, see ``metrics.limits``, with the dtype and threads of the case."""
        process = self._started(case)
        with self._bench.clock.counting("model"):
            return process.ask("limits", case=case.flat())

    def _started(self, case: Case) -> ArmProcess:
        if self._process is None or not self._process.alive:
            with self._bench.clock.counting("start"):
                self._process = ArmProcess(case, self._bench.memory_limit, self._bench.turn_seconds)
        return self._process

    def __enter__(self) -> "Surveyor":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
