"""The child process that builds one case and answers questions about it, one line of JSON each way.

The controller fixes its environment before Python starts (``process.worker_environment``). Whatever the model prints
goes to standard error: standard output belongs to the protocol.
"""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from xbench.attention import parse_attention
from xbench.conformance import QUICK_CHECKS, Candidate, verify
from xbench.data.photos import load_photos
from xbench.errors import UserError
from xbench.metrics import timing
from xbench.metrics.cost import CostError, count_cost
from xbench.metrics.memory import peak_memory
from xbench.models import build_model
from xbench.models.baselines import build_baseline
from xbench.models.layers import XFLayer
from xbench.models.sizes import SIZES
from xbench.study import Case

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NUM_CLASSES = 1000


class InvalidOutputError(RuntimeError):
    """A model or an attention returned something of the wrong shape, or not finite."""


class Subject:
    """One case, built on its device and ready to run. Weights and inputs are the same in every process."""

    def __init__(self, case: Case, photos: list[Path]):
        self.case = case
        torch.set_num_threads(case.threads)
        torch.manual_seed(0)
        self.device = torch.device(case.device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise UserError("no CUDA device is available to torch here; use --device cpu.")
        dtype = DTYPES[case.dtype]
        self.model = build(case).eval().requires_grad_(False).to(self.device, dtype)
        self.images = load_photos(photos, case.batch, case.img_size).to(self.device, dtype)

    def forward(self, batch: int | None = None) -> Tensor:
        """[batch, 1000] from the first ``batch`` images; from all where none is given."""
        with torch.inference_mode():
            return self.model(self.images[:batch])

    def check(self, output: Tensor) -> None:
        """Refuses an output that is not [batch, 1000] and finite."""
        expected = (self.case.batch, NUM_CLASSES)
        if tuple(output.shape) != expected:
            raise InvalidOutputError(f"the output has shape {tuple(output.shape)}, not {expected}")
        finite = output.isfinite()
        if not finite.all():
            what = "NaN" if output.isnan().any() else "infinite values"
            raise InvalidOutputError(f"the output has {what} in {int((~finite).sum())} of {output.numel()} places")


def build(case: Case) -> nn.Module:
    """The model of a case, on the current default device."""
    if case.arm.baseline:
        return build_baseline(case.arm.baseline, img_size=case.img_size, num_classes=NUM_CLASSES)
    assert case.arm.attn is not None
    model = build_model(
        parse_attention(case.arm.attn),
        size=case.size,
        patch_size=case.patch_size,
        img_size=case.img_size,
        num_classes=NUM_CLASSES,
    )
    return model


def watch_attention_shapes(model: nn.Module) -> None:
    """Makes an attention that does not return [B, N, C] fail by name, not as an addition somewhere else."""

    def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        given, returned = tuple(args[0].shape), tuple(getattr(output, "shape", ()))
        if given != returned:
            raise InvalidOutputError(f"attention {type(module).__name__} returned {returned} for {given}, [B, N, C]")

    for layer in model.modules():
        if isinstance(layer, XFLayer):
            layer.attn.register_forward_hook(watch)


class Worker:
    """Answers requests. Each public method is one; its result must be JSON."""

    subject: Subject
    case: Case

    def __init__(self) -> None:
        self.warm: dict[int, timing.WarmUp] = {}

    def build(self, case: dict[str, Any], photos: list[str]) -> None:
        self.case = Case.from_flat(case)
        self.subject = Subject(self.case, [Path(photo) for photo in photos])

    def vouch(self) -> dict[str, str]:
        """Why the attention is "unverified", by the quick conformance checks, and how it was "adapted", if so."""
        if self.case.arm.attn is None:
            return {}
        widths = SIZES[self.case.size]
        embed_dim = next(stage.embed_dim for stage in widths.stages if stage.depth)
        candidate = Candidate(self.case.arm.attn, embed_dim=embed_dim, qkv_dim=widths.qkv_dim)
        failed = [finding for finding in verify(candidate, QUICK_CHECKS) if finding.outcome == "fail"]
        more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
        why = f"{failed[0].check}: {failed[0].reason}{more}" if failed else ""
        return {key: text for key, text in (("unverified", why), ("adapted", candidate.mapping)) if text}

    def cost(self) -> dict[str, Any]:
        with torch.device("meta"):
            model = build(self.case).eval()
        return asdict(count_cost(model, self.case.img_size))

    def memory(self) -> dict[str, Any]:
        subject = self.subject
        watch_attention_shapes(subject.model)
        outputs: list[Tensor] = []

        def forward() -> Tensor:
            outputs.clear()
            outputs.append(subject.forward())
            return outputs[0]

        # On the CPU a first forward has the same peak as later ones, and at high resolution it takes seconds.
        warm = subject.device.type == "cpu"
        peak = peak_memory(forward, subject.model, subject.images, subject.device, warm=warm)
        subject.check(outputs[0])
        return asdict(peak)

    def warm_up(self, batch: int, seconds: float, at_least: int) -> dict[str, Any]:
        self.warm[batch] = timing.warm_up(lambda: self.subject.forward(batch), seconds, at_least)
        return asdict(self.warm[batch])

    def block(self, batch: int) -> dict[str, Any]:
        return asdict(timing.measure_block(lambda: self.subject.forward(batch), self.warm[batch]))

    def device_time(self) -> list[float]:
        return timing.device_seconds(self.subject.forward)

    def device(self) -> dict[str, Any]:
        return device_facts(self.subject.device)


def device_facts(device: torch.device) -> dict[str, Any]:
    """What is known of an accelerator now: name, memory, and clock and temperature where the driver tells."""
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    facts: dict[str, Any] = {"name": properties.name, "memory_mib": properties.total_memory // 2**20}
    for name, read in (("clock_mhz", torch.cuda.clock_rate), ("temperature_c", torch.cuda.temperature)):
        try:
            facts[name] = read(device)
        except Exception:  # needs nvidia-ml-py, and a driver that answers
            continue
    return facts


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request: its result, or the status that ends the case and the reason in words."""
    method: Callable[..., Any] = getattr(worker, request.pop("do"))
    try:
        return {"result": method(**request)}
    except UserError as error:
        return {"status": "unsupported", "reason": str(error)}
    except (InvalidOutputError, CostError) as error:
        return {"status": "crash", "reason": str(error)}
    except (MemoryError, torch.OutOfMemoryError) as error:
        return {"status": "oom", "reason": _first_line(error)}
    except Exception as error:
        # torch has no exception type for a failed allocation on the CPU.
        oom = "can't allocate memory" in str(error) or "not enough memory" in str(error)
        return {"status": "oom" if oom else "crash", "reason": f"{type(error).__name__}: {_first_line(error)}"}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def limit_memory(max_bytes: int) -> None:
    """Makes allocations beyond the limit fail here, and this process the first that the kernel kills for memory."""
    import resource

    if max_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, max_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Answers requests until there are no more."""
    worker = Worker()
    for line in requests:
        replies.write(json.dumps(answer(worker, json.loads(line))) + "\n")
        replies.flush()


def main() -> None:
    warnings.filterwarnings("ignore")
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit_memory(int(os.environ.get("XBENCH_MEMORY_LIMIT", "0")))
    with replies:
        serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
