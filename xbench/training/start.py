"""A model that begins where another training ended: a detector or a segmenter on a trained classifier's backbone."""

from pathlib import Path

from torch import nn

from xbench.errors import UserError
from xbench.training.checkpoint import read_job, read_weights
from xbench.training.job import Job

PLACES = ("{}", "backbone.{}", "backbone.model.{}")  # of a weight in what begins, by its name in what was trained
MODEL = ("attn", "baseline", "size")  # a patch size decides no weight


def begin_from(model: nn.Module, job: Job, folder: Path) -> None:
    """Puts weights that ``train`` left in ``folder`` into the model, but for heads, which are as they were drawn.

    Raises:
        UserError: the folder holds no training run, or that of another model.
    """
    trained = read_job(folder)
    for field in MODEL:
        found, wanted = getattr(trained, field), getattr(job, field)
        if found != wanted:
            raise UserError(
                f"{folder} holds {trained.name}, {field} {found}; a training begins from the same model, here {field} "
                f"{wanted}."
            )
    own = model.state_dict()
    taken = {}
    for name, weight in read_weights(folder).items():
        for place in PLACES:
            if own.get(place.format(name), weight[..., None]).shape == weight.shape:
                taken[place.format(name)] = weight
    left = [name for name in own if name not in taken and (name.startswith("backbone.") or trained.task == job.task)]
    if left:
        raise UserError(f"{folder} does not hold all of the weights of {job.name}: there is no {left[0]}.")
    model.load_state_dict(taken, strict=False)
