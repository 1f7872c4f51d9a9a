"""A model card for weights that were trained here, in the form that the Hugging Face hub reads (arXiv 1810.03993)."""

import shlex
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from xbench.exchange.bibtex import TIMM, attention_bibtex
from xbench.metrics.definitions import METRICS
from xbench.tasks import SCORES

HUB_TASKS = {"classify": "image-classification", "detect": "object-detection", "segment": "image-segmentation"}


def model_card(config: dict[str, Any], folder: Path) -> str:
    """What the weights are, what they were trained on and how, what they reach, and how to run them again.

    Args:
        config: what ``training.checkpoint.read_config`` gives of the folder.
        folder: as it is to be named in the commands.
    """
    job, data = config["job"], config["data"]
    task = job.get("task", "classify")
    what = job["attn"] or job["baseline"]
    skeleton = f"XFormer-{job['size']} with {what}" if job["attn"] else what
    scores = {name: config[name] for name in SCORES[task] if name in config}
    height, width = job["img_size"]
    name = f"{what}-{data['name'].partition(':')[0]}-{height}"
    header = ModelCardData(
        library_name="xbench",
        pipeline_tag=HUB_TASKS[task],
        tags=["xbench", "timm" if job["baseline"] else "xformer"],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=HUB_TASKS[task],
                dataset_type=data["name"],
                dataset_name=data["name"],
                metric_type=score,
                metric_name=METRICS[score].label,
                metric_value=round(value, 3),
            )
            for score, value in scores.items()
        ],
    )
    recipe = {key: value for key, value in job["recipe"].items() if key != "augmentation"}
    recipe |= {key: value for key, value in job["recipe"]["augmentation"].items() if value}
    images = ", ".join(f"{facts['images']:,} {split}" for split, facts in data["splits"].items())
    citations = attention_bibtex([job["attn"]]) if job["attn"] else [TIMM]
    parts = [
        f"---\n{header.to_yaml()}\n---",
        f"# {name}",
        f"{skeleton}, patch {job['patch_size']}, {config['parameters']:,} trained parameters, for images of "
        f"{height} × {width} pixels; {data['classes']:,} classes.",
        "## What it reaches",
        "\n".join(f"- {METRICS[score].label}: {value:.2f} %" for score, value in scores.items()) or "Not tested.",
        f"One training, seed {job['seed']}: of other seeds this says nothing.",
        "## What it was trained on",
        f"{data['name']}: {images} images. The weights of the last epoch are tested, none are chosen.",
        *([f"It began from the weights of another training: {job['start']}."] if job.get("start") else []),
        "## How",
        "\n".join(["| setting | value |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in recipe.items())]),
        "## How to run it",
        f"```bash\nxbench evaluate {shlex.quote(str(folder))}\n```",
        "## What to cite",
        "```bibtex\n" + "\n\n".join(citations) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"
