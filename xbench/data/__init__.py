"""Data sets by name: what every one of them gives, and ``open_data``, which finds them. Loads no torch until then.

    digits                          scikit-learn's handwritten digits, enlarged; nothing to download
    canvas                          the same digits far apart among clutter, the label a relation between them
    folder:/data/imagenet           a folder per split (train, val, test) with a folder per class: ImageNet-1K's layout
    wds:/data/shards                WebDataset shards on this machine, a tar's name or folder saying its split
    torch/cifar10:/data             torchvision's sets, by timm's names
    hfds/timm/mini-imagenet         Hugging Face sets; hfds//data/set: one on this machine

and with boxes or masks:

    scenes                          signs of six shapes on photographs, drawn here
    coco:/data/coco                 COCO's layout: annotations/instances_train2017.json, train2017, …
    cityscapes:/data/cityscapes     Cityscapes' layout: leftImg8bit and gtFine
    masks:/data/pairs               pictures and masks of one name in two folders for each split

Options follow as they do behind an attention's name: "canvas:digits=8", "torch/cifar10:/data:download=true".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Augmentation", "Data", "open_data"]


@dataclass(frozen=True)
class Augmentation:
    """What training images go through, in timm's words; by default nothing at all.

    Attributes:
        auto_augment: policy, such as "rand-m9-mstd0.5"; it replaces ``color_jitter``.
        color_jitter: strength of random brightness, contrast and saturation.
        random_erasing: probability that a rectangle of an image becomes noise.
        hflip: probability that an image is mirrored.
        scale: least and greatest share of the image's area that a random crop keeps; none: what evaluation sees.
        mixup: α of mixup; 0: none.
        cutmix: α of cutmix; 0: none. With both, every batch takes one or the other.
        label_smoothing: taken into the soft targets where images are mixed, and otherwise left to the loss.
    """

    auto_augment: str | None = None
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    hflip: float = 0.0
    scale: tuple[float, float] | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are blended, so that targets are soft."""
        return bool(self.mixup or self.cutmix)

    def check_followed(self) -> None:
        """Refuses what boxes and masks cannot follow.

        Raises:
            UserError: a setting that changes pictures and not what is said of them.
        """
        for name in ("auto_augment", "random_erasing", "mixup", "cutmix"):
            if getattr(self, name):
                raise UserError(
                    f"{name} of the recipe changes pictures and not their boxes or masks; with these there are scale, "
                    "hflip and color_jitter."
                )

    @property
    def changes_pictures(self) -> bool:
        """Whether anything happens to an image by itself."""
        return bool(self.auto_augment or self.color_jitter or self.random_erasing or self.hflip or self.scale)


class Data(Protocol):
    """A set as training meets it.

    Targets are those of the task: [b] int64 of classes, or [b, classes] where images are mixed; [b, objects, 6] of
    boxes; [b, H, W] int64 of masks. See ``xbench.tasks``. What ``train`` yields is a function of spec, image size,
    joint batch, seed, epoch and augmentation alone.

    Attributes:
        steps: joint batches in an epoch; the incomplete last one is left out.
    """

    name: str
    num_classes: int
    in_chans: int
    train_size: int
    steps: int

    def train(self, epoch: int) -> "Iterator[tuple[Tensor, Tensor]]":
        """This process's share of every joint batch: images [batch / world, 3, H, W], float32, normalised; targets."""
        ...

    def evaluate(self, split: str) -> "Iterator[tuple[Tensor, Tensor]]":
        """This process's share of "val" or "test", never augmented; all processes together see every image once."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a record says of the data: name, size and fingerprint of every split, transforms."""
        ...


def open_data(
    spec: str,
    *,
    task: str = "classify",
    img_size: tuple[int, int],
    batch: int,
    seed: int,
    augmentation: Augmentation | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    root: Path | None = None,
    inspected: Sequence[str] = (),
    unreadable: str = "stop",
    tell: Callable[[str, int, int], None] | None = None,
) -> Data:
    """The data set that ``spec`` names; see the module's docstring for the names.

    Args:
        spec: name[:folder][:option=value,…].
        task: what is to be told of the images: "classify", "detect" or "segment".
        img_size: (height, width) of every image.
        batch: images in a joint batch, of all processes together.
        seed: decides order, augmentation and mixing.
        augmentation: what training images go through; nothing by default.
        rank: which of the ``world`` processes this is, from 0.
        world: processes that share every joint batch.
        workers: processes that read images for this one; 0 reads them in this one. They change nothing but the time.
        root: the folder, where the spec does not say it.
        inspected: splits of which every image is looked at first, see ``data.disk.inspection``. In others an image
            that cannot be read ends the run when it is met.
        unreadable: whether images that cannot be read end the run ("stop") or are left out ("skip").
        tell: hears of the look at every image: the split, how many were seen, and of how many.

    Raises:
        UserError: unknown name or option, a set that is not for the task, a missing folder, a set that cannot be read,
            images that cannot, a batch that cannot be shared out or is larger than the set.
    """
    from xbench.data.catalogue import open_splits
    from xbench.data.disk.inspection import inspect
    from xbench.data.epochs import Epochs

    augmentation = augmentation or Augmentation()
    splits = open_splits(spec, task, img_size=img_size, seed=seed, augmentation=augmentation, root=root)
    inspect(splits, inspected, unreadable=unreadable, rank=rank, world=world, workers=workers, tell=tell)
    return Epochs(splits, batch=batch, seed=seed, augmentation=augmentation, rank=rank, world=world, workers=workers)
