"""Are the figures that xbench takes on a GPU those of plain scripts? For a run that was made there, alone on it:

    xbench compare --attn xfa mhsa --model mobilevit_s --res 256 1024 --device cuda --out RUN
    python tests/trials/cuda_trials.py RUN

Each model of the run then runs in a plain script: a fresh process that imports no worker of ours. There time is taken
by ``torch.utils.benchmark``, the device's by events around single passes and by torch's profiler, which adds up
kernels, and memory by ``torch.cuda.max_memory_allocated``. Prints a table; some ten seconds for each model.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from xbench.records.ledger import read_records
from xbench.records.record import Record

PLAIN = """
import json, sys
import timm, torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer
from xbench import build_model
name, sizes = sys.argv[1], [int(size) for size in sys.argv[2:]]
model = (timm.create_model(name) if "_" in name else build_model(name)).eval().cuda()
found = {}
with torch.inference_mode():
    for res in sizes:
        one, batch = (torch.randn(count, 3, res, res, device="cuda") for count in (1, 8))
        for _ in range(10):
            model(one), model(batch)
        timers = [Timer("model(x)", globals={"model": model, "x": x}) for x in (one, batch)]
        timed = [timer.blocked_autorange(min_run_time=1.0) for timer in timers]
        apart = []
        for _ in range(30):
            torch.cuda.synchronize()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(); model(batch); end.record()
            torch.cuda.synchronize()
            apart.append(start.elapsed_time(end))
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            for _ in range(10):
                model(batch)
            torch.cuda.synchronize()
        kernels = [event for event in profiler.key_averages() if event.device_type == DeviceType.CUDA]
        del one
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        model(batch)
        torch.cuda.synchronize()
        found[res] = {
            "latency": 1e3 * timed[0].median,
            "batch": 1e3 * timed[1].median,
            "events": sorted(apart)[len(apart) // 2],
            "kernels": sum(event.self_device_time_total for event in kernels) / 10 / 1e3,
            "peak": torch.cuda.max_memory_allocated() / 2**20,
        }
print(json.dumps(found))
"""
HEADS = (
    "model",
    "pixels",
    "latency, ms: xbench · script",
    "batch of 8, ms: xbench · script",
    "device time, ms: xbench (cold) · events (warm) · kernels alone",
    "peak, MiB allocated: xbench · script",
)


def plain(arm: str, sizes: list[int]) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-c", PLAIN, arm, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    found = read_records([Path(sys.argv[1], "records.jsonl")])
    records = [record for record in found if record.samples and record.case.get("img_size")]
    sizes = sorted({record.case["img_size"][0] for record in records})
    print("| " + " | ".join(HEADS) + " |\n|" + " --- |" * len(HEADS))
    for arm in dict.fromkeys(record.case["arm"] for record in records if not record.case["control"]):
        scripts = plain(arm, sizes)
        for res in sizes:
            here = [record for record in records if (record.case["arm"], record.case["img_size"][0]) == (arm, res)]
            ours: dict[str, list[Record]] = {}
            for record in here:
                ours.setdefault(record.metric, []).append(record)
            samples = {metric: [x for record in taken for x in record.samples] for metric, taken in ours.items()}
            script = scripts[str(res)]
            allocated = ours["peak_memory"][-1].detail["allocated"] / 2**20
            row = [
                arm,
                str(res),
                _beside(median(samples["latency"]), script["latency"]),
                _beside(8e3 / median(samples["throughput"]), script["batch"]),
                f"{median(samples['device_time']):.4g} · {script['events']:.4g} · {script['kernels']:.4g}",
                _beside(allocated, script["peak"]),
            ]
            print("| " + " | ".join(row) + " |", flush=True)


def _beside(ours: float, theirs: float) -> str:
    return f"{ours:.4g} · {theirs:.4g} ({ours / theirs:.3f})"


if __name__ == "__main__":
    main()
