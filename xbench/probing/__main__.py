"""A probe in a process of its own: a job as JSON on standard input, its progress as lines of JSON on the other.

The last line holds "result", or a "status" and a "reason" as a record has them.
"""

import json
import sys

from xbench.probing.job import ProbeJob
from xbench.probing.probe import probe
from xbench.processes.child import begin, failure


def main() -> None:
    """Answers the one request."""
    with begin() as lines:

        def say(**values: object) -> None:
            lines.write(json.dumps(values) + "\n")

        job = ProbeJob.from_dict(json.loads(sys.stdin.readline())["job"])
        try:
            say(result=probe(job, lambda step: say(step=step)))
        except FloatingPointError as error:
            say(status="diverged", reason=str(error))
        except Exception as error:
            status, reason = failure(error)
            say(status=status, reason=reason)


if __name__ == "__main__":
    main()
