"""A worker that answers in this process, for what is no matter of processes, whose start takes seconds."""

import json
import warnings
from typing import Any

from xbench.processes.parent import ArmError
from xbench.study.case import Case
from xbench.worker.requests import Worker, answer


class Death(BaseException):
    """What an attention raises that would end its process."""


class WorkerHere:
    """Stands in for ``ArmProcess``: the same words and the same answers, as text, without limits of memory or time."""

    def __init__(self, case: Case, *_: Any):
        self.alive = True
        self._worker = Worker()
        self._asked = ""

    def send(self, do: str, **arguments: Any) -> None:
        self._asked = json.dumps({"do": do, **arguments})

    def receive(self, extra_seconds: float = 0.0) -> Any:
        try:
            with warnings.catch_warnings(action="ignore"):
                reply = json.loads(json.dumps(answer(self._worker, json.loads(self._asked))))
        except Death:
            self.alive = False
            raise ArmError("crash", "it died") from None
        if "status" in reply:
            raise ArmError(reply["status"], reply["reason"])
        return reply["result"]

    def ask(self, do: str, **arguments: Any) -> Any:
        self.send(do, **arguments)
        return self.receive()

    def stop(self) -> None:
        self.alive = False
