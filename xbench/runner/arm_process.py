"""A worker as the runner sees it: a process that answers requests about one case."""

import signal
from typing import Any

from xbench.processes.parent import ChildProcess, worker_environment
from xbench.study.case import Case


class ArmProcess(ChildProcess):
    """A worker that answers requests about one case, each within a time limit.

    A worker that refused or failed in Python still answers; one that ran out of time or died does not. One whose
    threads do not go to sleep between its answers is stopped meanwhile, so that it takes no processor from others.

    Raises:
        ArmError: it cannot be started.
    """

    def __init__(self, case: Case, memory_limit: int, time_limit: float, policy: str | None = None):
        """``policy``: the one to run under where that is not the case's own."""
        environment = worker_environment(case.device, case.threads, memory_limit, policy or case.arm.policy)
        if checkout := case.arm.checkout:
            environment = checkout.environment(environment)
            super().__init__("xbench.worker", environment, checkout.python, checkout.folder)
        else:
            super().__init__("xbench.worker", environment)
        self.case = case
        self.time_limit = time_limit
        self._stopped = False

    def ask(self, do: str, **arguments: Any) -> Any:
        """Sends a request and returns its result.

        Raises:
            ArmError: the worker refused, failed, ran out of memory or time, or died.
        """
        self.send(do, **arguments)
        return self.receive()

    def send(self, do: str, **arguments: Any) -> None:
        """Sends a request without waiting."""
        if self._stopped:
            self._signal(signal.SIGCONT)
            self._stopped = False
        self.say(do=do, **arguments)

    def receive(self, extra_seconds: float = 0.0) -> Any:
        """Waits for the reply to the oldest unanswered request, so much longer than the time limit."""
        heard = self.hear(self.time_limit + extra_seconds)
        if heard.get("awake"):
            self._signal(signal.SIGSTOP)
            self._stopped = True
        return heard["result"]
