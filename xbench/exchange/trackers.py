"""A run in an experiment tracker, by the tracker's own library: Weights & Biases, MLflow or trackio.

Each figure is a metric named by what, who and where; the conditions, the machine and the versions are its parameters;
and the folder of the run goes along where the tracker takes files. Trackers keep no intervals: those stay in the files.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xbench.analysis.results import Results
from xbench.errors import UserError, unknown_name
from xbench.wording.conditions import in_words

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny", "trackio": "trackio"}
WHERE = (
    "extent",
    "size",
    "patch_size",
    "batch",
    "direction",
    "dtype",
    "device",
    "threads",
)  # of the conditions, in a metric's name
FILES = ("report.md", "records.jsonl")


def log_run(tracker: str, results: Results, folder: Path, name: str, project: str) -> int:
    """Logs the run and returns the number of figures. Where the tracker's server is, its own settings say.

    Raises:
        UserError: no such tracker, its library is not installed, or it refuses the run.
    """
    if tracker not in PACKAGES:
        raise unknown_name("tracker", tracker, PACKAGES)
    try:
        library = importlib.import_module(tracker)
    except ImportError:
        raise UserError(f"{tracker} is not installed: pip install {PACKAGES[tracker]}") from None
    figures, parameters = logged_figures(results), logged_parameters(results)
    try:
        TRACKERS[tracker](library, project, name, parameters, figures, folder)
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{tracker} did not take the run: {said}") from error
    return len(figures)


def logged_figures(results: Results) -> dict[str, float]:
    """By "metric/arm/where" the figure of every cell that has one."""
    found = {}
    for place in results.conditions:
        words = in_words(place)
        where = " ".join(words[key] for key in WHERE if words[key])
        for arm in results.arms:
            for metric in results.metrics:
                cell = results.cell(place, arm, metric)
                if cell and cell.figure:
                    found[_key(f"{metric}/{arm}/{where}")] = cell.figure.value
    return found


def logged_parameters(results: Results) -> dict[str, Any]:
    """What decides the figures: arms, machine, versions and commit of the last record."""
    last = results.records[-1]
    own = {"arms": ", ".join(results.arms), "reference": results.against, "commit": last.commit}
    return {**own, **{f"machine {key}": value for key, value in last.machine.items()}, **last.versions}


def _key(text: str) -> str:
    """What every tracker takes as a name."""
    return re.sub(r"[^\w\-. /]", "_", text)


def _wandb(wandb: Any, project: str, name: str, parameters: dict, figures: dict, folder: Path) -> None:
    with wandb.init(project=project, name=name, config=parameters) as run:
        run.summary.update(figures)
        for file in filter(Path.is_file, (folder / name for name in FILES)):
            run.save(str(file), base_path=str(folder), policy="now")


def _mlflow(mlflow: Any, project: str, name: str, parameters: dict, figures: dict, folder: Path) -> None:
    mlflow.set_experiment(project)
    with mlflow.start_run(run_name=name):
        mlflow.log_params({_key(key): str(value)[:500] for key, value in parameters.items()})
        mlflow.log_metrics(figures)
        for file in filter(Path.is_file, (folder / name for name in FILES)):
            mlflow.log_artifact(str(file))


def _trackio(trackio: Any, project: str, name: str, parameters: dict, figures: dict, folder: Path) -> None:
    trackio.init(project=project, name=name, config={key: str(value) for key, value in parameters.items()})
    trackio.log(figures)
    trackio.finish()


TRACKERS: dict[str, Callable[..., None]] = {"wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}
