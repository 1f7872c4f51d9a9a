"""What a model is for: a task has a head, a loss and a score, and everything else asks it for these.

"classify" gives classes of pictures, "detect" boxes of objects in them, "segment" a class for each of their pixels.
Importing this package loads no torch; ``find_task`` does.
"""

from typing import TYPE_CHECKING, Any, Protocol

from xbench.parsing.axes import TASKS, one_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xbench.models.maps import Backbone

__all__ = ["CLASSES", "SCORES", "Scorer", "Task", "find_task", "over_processes"]

# By task the scores that it has, as metrics, each in %; the first is the one that validation shows.
SCORES = {"classify": ("top1",), "detect": ("ap", "ap50"), "segment": ("miou",)}
# By task what its models tell apart when their cost is measured: ImageNet's, COCO's and Cityscapes' classes.
CLASSES = {"classify": 1000, "detect": 80, "segment": 19}


class Scorer(Protocol):
    """Gathers what a model says of pictures, and scores it against the truth."""

    def update(self, outputs: "Tensor", targets: "Tensor") -> None:
        """Takes in a batch: what the model gave, and what was right."""
        ...

    def compute(self) -> dict[str, float]:
        """The task's scores in %, and "images": over all processes that train together."""
        ...


class Task(Protocol):
    """One task. Targets are one tensor for a batch, of a form of the task's own.

    Attributes:
        reductions: of the feature maps that its head needs; none where it sees a classifier's.
    """

    reductions: tuple[int, ...]

    def head(self, backbone: "Backbone", num_classes: int, drop_rate: float) -> "nn.Module":
        """The whole model on a backbone with the maps of ``reductions``; ``drop_rate`` where its head has dropout."""
        ...

    def loss(self, outputs: "Tensor", targets: "Tensor", img_size: tuple[int, int], smoothing: float) -> "Tensor":
        """A scalar to be minimised, the mean over the pictures."""
        ...

    def scorer(self, num_classes: int, img_size: tuple[int, int], device: Any) -> Scorer: ...

    def output_shape(self, batch: int, img_size: tuple[int, int], num_classes: int) -> tuple[int, ...]: ...

    def example_targets(self, batch: int, img_size: tuple[int, int], num_classes: int) -> "Tensor":
        """Targets that look like real ones, to measure a training step with; the same every time."""
        ...


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UserError: there is none.
    """
    one_of("task", name, TASKS)
    # One at a time: what another needs, such as torchvision, is not loaded.
    if name == "detect":
        from xbench.tasks.detection import Detection

        return Detection()
    if name == "segment":
        from xbench.tasks.segmentation import Segmentation

        return Segmentation()
    from xbench.tasks.classification import Classification

    return Classification()


def over_processes(counts: "Tensor") -> "Tensor":
    """The sum of the counts of all processes that train together; the counts themselves where there is one."""
    from torch import distributed

    total = counts.clone()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
    return total
