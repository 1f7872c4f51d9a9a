"""A training run in a process of its own: a job as JSON on standard input, its progress as lines of JSON on the other.

The last line holds "result", or a "status" and a "reason" as a record has them.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from xbench.processes.child import begin, failure
from xbench.training.job import Job
from xbench.training.loop import LOOKS_SECONDS, DivergedError, Step, train


class Teller:
    """Writes what happens as lines."""

    def __init__(self, lines: IO[str]):
        self._lines = lines
        self._inspected = 0.0

    def say(self, **values: Any) -> None:
        self._lines.write(json.dumps(values) + "\n")

    def inspected(self, split: str, seen: int, images: int) -> None:
        # Who listens would take long silence for a hang.
        if time.monotonic() - self._inspected >= LOOKS_SECONDS:
            self._inspected = time.monotonic()
            self.say(inspected={"split": split, "seen": seen, "images": images})

    def stepped(self, step: Step) -> None:
        self.say(step=asdict(step))

    def finished_epoch(self, entry: dict[str, Any]) -> None:
        self.say(epoch=entry)


def main() -> None:
    """Answers the one request."""
    with begin() as lines:
        teller = Teller(lines)
        request = json.loads(sys.stdin.readline())
        try:
            teller.say(result=train(Job.from_dict(request["job"]), Path(request["folder"]), teller))
        except DivergedError as error:
            teller.say(status="diverged", reason=str(error))
        except Exception as error:
            status, reason = failure(error)
            teller.say(status=status, reason=reason)


if __name__ == "__main__":
    main()
