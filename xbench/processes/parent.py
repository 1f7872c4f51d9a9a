"""The controller's end of a worker: starts it, asks it, and turns every way it can end into a status and a reason."""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from xbench.errors import UserError
from xbench.processes.policy import DECIDED, TUNED, find_policy
from xbench.processes.shortage import free_bytes, killed_reason, oom_kills, own_doing, tells_of_shortage
from xbench.records.record import Status
from xbench.signals import held

EVERY_WORKER = {"PYTHONHASHSEED": "0"}  # whatever its policy

PRCTL: Any = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before any process is forked
PR_SET_PDEATHSIG = 1


class ArmError(Exception):
    """The worker of a case can give no more figures, for this reason.

    ``by_others``: other processes are to blame, so that another attempt may do better.
    """

    def __init__(self, status: Status, reason: str, by_others: bool = False):
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason
        self.by_others = by_others

    def of_second_attempt(self) -> "ArmError":
        """The same, after a first attempt that other processes ended."""
        return ArmError(self.status, f"{self.reason}; this was the second attempt", self.by_others)


def worker_environment(device: str, threads: int, memory_limit: int, policy: str = TUNED) -> dict[str, str]:
    """The environment of a worker. What stands here is part of the protocol and decides figures.

    Raises:
        ArmError: the policy's allocator is not installed.
    """
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # A CUDA process maps far more than it uses, so the limit is for the CPU only.
    limit = {"XBENCH_MEMORY_LIMIT": str(memory_limit)} if device == "cpu" else {}
    quiet = {"KINETO_LOG_LEVEL": "6", "TORCH_CPP_LOG_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(DECIDED)}
    try:
        return {**inherited, **EVERY_WORKER, **find_policy(policy).environment(), **counts, **limit, **quiet}
    except UserError as error:
        raise ArmError("unsupported", str(error)) from error


def _end_with_controller() -> None:
    """Makes the kernel end the new process with this one, from its first moment and in the middle of anything."""
    PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


class ChildProcess:
    """A process that runs a module of ours and speaks lines of JSON. Every way it can end is an ``ArmError``."""

    def __init__(
        self, module: str, environment: dict[str, str], python: str = sys.executable, folder: str | None = None
    ):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by stop()
        # -P: a file in the user's folder must not hide a library.
        try:
            with held():  # in a handler of a fork, such as logging's, Python would swallow an interrupt
                self._process = subprocess.Popen(
                    [python, "-P", "-m", module],
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env=environment,
                    start_new_session=True,
                    preexec_fn=_end_with_controller if sys.platform == "linux" else None,
                )
        except OSError as error:
            self._errors.close()
            raise ArmError("crash", f"no process could be started: {error.strerror}") from error
        self._buffer = b""
        self._oom_kills, self._free = oom_kills(), free_bytes()
        self._limit = int(environment.get("XBENCH_MEMORY_LIMIT", "0"))

    def say(self, **values: Any) -> None:
        """Sends a line.

        Raises:
            ArmError: nobody is there to read it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(values).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next line, waited for so long.

        Raises:
            ArmError: none came, and the process was stopped; it died; or the line says why there is no result.
        """
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.stop()
                    raise ArmError("timeout", f"no answer within the time limit of {seconds:.0f} s")
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._ended()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        heard = json.loads(line)
        if "status" in heard:
            raise self._failed(heard["status"], heard["reason"])
        return heard

    @property
    def pending(self) -> bool:
        """Whether a line is there to be heard at once."""
        return b"\n" in self._buffer

    def fileno(self) -> int:
        """What tells that there is more to hear."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _failed(self, status: Status, reason: str) -> ArmError:
        """Of an allocation that failed says how much the process was allowed."""
        within = f"; its own limit is {self._limit / 2**30:,.1f} GiB" if status == "oom" and self._limit else ""
        return ArmError(status, reason + within)

    def _ended(self) -> ArmError:
        code, peak = self._wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        lines = said.splitlines()
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return ArmError("oom", killed_reason(peak, self._free), by_others=not own_doing(peak, self._free))
        if code == -signal.SIGABRT and tells_of_shortage(said):
            return self._failed("oom", f"ended by {lines[-1]}")
        if code < 0:
            return ArmError("crash", f"killed by {signal.Signals(-code).name}")
        return ArmError("crash", f"ended with exit code {code}: {lines[-1] if lines else 'nothing on standard error'}")

    def _wait(self) -> tuple[int, int]:
        """Its exit code once it has ended, and the most bytes that it held; 0 where that was asked for too late."""
        peak = 0
        if self._process.returncode is None:
            with contextlib.suppress(ChildProcessError):  # of who ignores SIGCHLD the kernel keeps no children
                _, status, usage = os.wait4(self._process.pid, 0)
                self._process.returncode = os.waitstatus_to_exitcode(status)
                peak = usage.ru_maxrss * 1024
        return self._process.wait(), peak

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        """To the process and whatever it started. Nothing happens when it is already gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """Ends the process, and whatever it started, at once. Harmless when it is already gone."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            try:
                stream.close()  # type: ignore[union-attr]
            except BrokenPipeError:
                continue
