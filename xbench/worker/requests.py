"""The child process that answers questions about a case, one line of JSON each way.

The controller fixes its environment before Python starts (``processes.parent.worker_environment``).
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from xbench.conformance import QUICK_CHECKS, Candidate, verify
from xbench.errors import UserError
from xbench.metrics import timing
from xbench.metrics.breakdown import breakdown
from xbench.metrics.counting.cost import Cost, CostError, cost_and_footprint, count_params
from xbench.metrics.counting.tally import Footprint, predict
from xbench.metrics.energy import energy, find_counter
from xbench.metrics.machine import machine_limits
from xbench.metrics.memory import largest_batch, peak_memory
from xbench.models.baselines import check_takes
from xbench.models.sizes import find_size
from xbench.parsing.axes import ENGINES
from xbench.processes.child import begin, failure, is_oom, limit_memory, rest, status_bytes
from xbench.study.case import Case
from xbench.worker.engines import Engine
from xbench.worker.subject import (
    DTYPES,
    InvalidOutputError,
    Subject,
    build,
    check_possible,
    input_shape,
    training_step,
    watch_attention_shapes,
    weights_dtype,
)

HEADROOM = 1.25  # of the limit, for the search of the largest batch


class Worker:
    """Answers requests. Each public method is one; its result must be JSON.

    ``vouch``, ``survey``, ``survey_in_truth``, ``params`` and ``limits`` need no ``build`` before them.
    """

    subject: Subject

    def __init__(self) -> None:
        self._warm: dict[int, timing.WarmUp] = {}
        self._photos: list[Path] = []
        self._on_paper: dict[Any, nn.Module] = {}
        self._costs: dict[Any, tuple[Cost, Footprint]] = {}

    # On paper

    def vouch(self, attn: str | None, size: str) -> dict[str, str]:
        """Why the attention is "unverified", by the quick conformance checks, and how it was "adapted", if so."""
        if attn is None:
            return {}
        widths = find_size(size)
        embed_dim = next(stage.embed_dim for stage in widths.stages if stage.depth)
        candidate = Candidate(attn, embed_dim=embed_dim, qkv_dim=widths.qkv_dim)
        failed = [finding for finding in verify(candidate, QUICK_CHECKS) if finding.outcome == "fail"]
        more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
        why = f"{failed[0].check}: {failed[0].reason}{more}" if failed else ""
        return {key: text for key, text in (("unverified", why), ("adapted", candidate.mapping)) if text}

    def survey(self, case: dict[str, Any], cross_check: bool) -> dict[str, Any]:
        """The cost of one image, and the predicted memory and traffic of one step of the case's batch, or why not."""
        asked = Case.from_flat(case)
        check_possible(asked)
        try:
            model = self._model_on_paper(asked)
            image = torch.empty(input_shape(asked, 1), device="meta", dtype=weights_dtype(asked))
            # Cases that differ in batch, threads or direction cost the same.
            key = (id(model), image.shape, cross_check)
            if key not in self._costs:
                self._costs[key] = cost_and_footprint(model, image, cross_check=cross_check)
            cost, footprint = self._costs[key]
        except Exception:
            if asked.arm.baseline:
                check_takes(asked.arm.baseline, asked.img_size or (0, 0))
            raise
        memory: Footprint | None = footprint
        unknown = ""
        if asked.batch > 1 or asked.direction == "training":
            try:
                memory = predict_step(asked, model)
            except Exception as error:
                memory, unknown = None, f"torch cannot run the step on the meta device: {failure(error)[1]}"
        return {"cost": asdict(cost), "predicted_memory": memory and asdict(memory), "unknown_memory": unknown}

    def survey_in_truth(self, case: dict[str, Any], cross_check: bool, photos: list[str]) -> dict[str, Any]:
        """The same of what cannot run on the meta device, with real tensors: in fp32, on the CPU, of one image.

        For a process of its own, because a module may keep tensors of an attempt on the meta device.
        """
        asked = Case.from_flat(case)
        check_possible(asked)
        arm = replace(asked.arm, mode="eager")
        alone = replace(asked, arm=arm, batch=1, dtype="fp32", device="cpu", direction="inference")
        subject = Subject(alone, [Path(photo) for photo in photos])
        cost, footprint = cost_and_footprint(subject.model, subject.inputs, cross_check=cross_check)
        same = (asked.batch, asked.dtype, asked.direction) == (1, "fp32", "inference")
        unknown = "the model does not run on the meta device, where memory is predicted"
        return {
            "cost": asdict(cost),
            "predicted_memory": asdict(footprint) if same else None,
            "unknown_memory": "" if same else unknown,
        }

    def params(self, case: dict[str, Any]) -> int:
        """The number of parameters, of a model that cannot be counted otherwise."""
        asked = Case.from_flat(case)
        check_possible(asked)
        try:
            return count_params(self._model_on_paper(asked))
        except UserError:
            raise
        except Exception:
            return count_params(build(asked))

    def _model_on_paper(self, case: Case) -> nn.Module:
        """On the meta device. What differs in size only shares a model, but for timm's, which may fix their input."""
        fixed = case.img_size if case.arm.baseline else case.tokens
        dtype = weights_dtype(case)
        key = (case.arm.attn, case.arm.baseline, case.level, case.task, case.patch_size, case.size, dtype, fixed)
        if key not in self._on_paper:
            with torch.device("meta"):
                self._on_paper[key] = build(case).eval().requires_grad_(False).to(dtype)
        return self._on_paper[key]

    def limits(self, case: dict[str, Any]) -> dict[str, Any]:
        """The machine's own limits with the case's dtype and threads, as samples and detail of a record."""
        asked = Case.from_flat(case)
        torch.set_num_threads(asked.threads)
        found = machine_limits(torch.device(asked.device), DTYPES[asked.dtype])
        return {
            "samples": [found.macs_per_second],
            "detail": {"copy_bytes_per_second": found.copy_bytes_per_second},
        }

    # In truth

    def build(self, case: dict[str, Any], photos: list[str], exports: str | None = None) -> None:
        self._photos = [Path(photo) for photo in photos]
        self.subject = Subject(Case.from_flat(case), self._photos, exports=Path(exports) if exports else None)

    def memory(self) -> dict[str, Any]:
        """Peak memory of a step, whose output is checked; and what this process holds by then, all told.

        That is a multiple of the peak of the tensors: the heap is never trimmed, and has holes.
        """
        subject = self.subject
        if subject.case.arm.mode in ENGINES:  # whose memory torch knows nothing of
            subject.check(subject.step()())
            return {"total": status_bytes("VmHWM"), "process": status_bytes("RssAnon")}
        if subject.case.arm.mode == "eager":
            watch_attention_shapes(subject.model)
        return {**self._peak(subject), "process": status_bytes("RssAnon")}

    def _peak(self, subject: Subject) -> dict[str, Any]:
        step = subject.step()
        outputs: list[Any] = []

        def measured() -> Any:
            outputs.clear()
            outputs.append(step())
            return outputs[0]

        # In eager inference on the CPU a first forward has the same peak as later ones, and may take seconds.
        case = subject.case
        warm = (case.device, case.arm.mode, case.direction) == ("cpu", "eager", "inference")
        optimizer = subject.training_step.optimizer if subject.training_step else None
        peak = peak_memory(measured, subject.model, subject.inputs, subject.device, warm=warm, optimizer=optimizer)
        subject.check(outputs[0])
        return asdict(peak)

    def max_batch(self, limit: int) -> dict[str, Any]:
        """The largest batch whose peak memory stays within ``limit`` bytes, and that peak; 0 where one is too many.

        The search may go somewhat beyond the limit, which therefore decides by the peak and not by a failure. 0 bytes
        stands for 90 % of the memory of a CUDA device.
        """
        case = self.subject.case
        del self.subject
        if case.device == "cuda":
            limit = limit or int(0.9 * torch.cuda.get_device_properties(0).total_memory)
        limit_memory(int(HEADROOM * limit))

        def peak(batch: int) -> float:
            try:
                return self._peak(Subject(replace(case, batch=batch), self._photos))["total"]
            except Exception as error:
                if not is_oom(error):
                    raise
                return math.inf

        batch, peak_bytes = largest_batch(peak, limit)
        return {"batch": batch, "peak_mib": peak_bytes / 2**20 if batch else None, "limit": limit}

    # In time

    def warm_up(self, batch: int, seconds: float, at_least: int) -> dict[str, Any]:
        self._warm[batch] = timing.warm_up(self.subject.step(batch), seconds, at_least)
        return asdict(self._warm[batch])

    def block(self, batch: int) -> dict[str, Any]:
        parts = self.subject.training_step.parts if self.subject.training_step else None
        return asdict(timing.measure_block(self.subject.step(batch), self._warm[batch], parts))

    def device_time(self) -> dict[str, Any]:
        """Device time of each iteration in ms, as samples and detail of a record."""
        times = timing.device_seconds(self.subject.forward)
        return {"samples": [1e3 * seconds for seconds in times], "detail": {}}

    def energy(self) -> dict[str, Any]:
        """Joules per image, as samples and detail of a record."""
        subject = self.subject
        found = energy(subject.step(), subject.batch, subject.device, find_counter(subject.device))
        return {"samples": found.joules, "detail": {"rest_watts": found.rest_watts, "counter": found.counter}}

    def breakdown(self) -> dict[str, Any]:
        """Milliseconds of instrumented forwards and of each component of them, as samples and detail of a record."""
        taken = breakdown(self.subject.forward, self.subject.model)
        components = list(taken[0])
        parts = {name: [1e3 * one[name] for one in taken] for name in components}
        return {"samples": [1e3 * sum(one.values()) for one in taken], "detail": {"parts": parts}}

    def device(self) -> dict[str, Any]:
        """What is known of the accelerator now, the most memory that this process has held, and an engine's export."""
        run = self.subject.run
        exported = {"export": run.exported} if isinstance(run, Engine) else {}
        return {**device_facts(self.subject.device), "process_mib": status_bytes("VmHWM") / 2**20, **exported}


def predict_step(case: Case, model: nn.Module) -> Footprint | None:
    """The predicted memory and traffic of one step of the case's batch; ``model`` is on the meta device.

    None for training in half precision: autocast does nothing on the meta device.
    """
    inputs = torch.empty(input_shape(case, case.batch), device="meta", dtype=weights_dtype(case))
    if case.direction == "inference":
        with torch.no_grad():
            return predict(lambda: model(inputs), model, inputs)
    if case.dtype != "fp32":
        return None
    model.train().requires_grad_(True)
    try:
        step = training_step(case, model, inputs)
        return predict(step.step, model, inputs, step.optimizer)
    finally:
        model.eval().requires_grad_(False)


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
    except (InvalidOutputError, CostError) as error:
        out_of_memory = isinstance(error.__cause__, Exception) and is_oom(error.__cause__)
        return {"status": "oom" if out_of_memory else "crash", "reason": str(error)}
    except Exception as error:
        status, reason = failure(error)
        return {"status": status, "reason": reason}


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Answers requests until there are no more. An answer is given once this process takes no processor any more, or
    says that threads are still "awake".
    """
    worker = Worker()
    for line in requests:
        reply = answer(worker, json.loads(line))
        if not rest():
            reply["awake"] = True
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    with begin() as replies:
        serve(sys.stdin, replies)
