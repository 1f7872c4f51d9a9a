"""What a trained model says of some test pictures, drawn beside the truth: boxes or classes of pixels."""

from io import BytesIO
from itertools import islice
from pathlib import Path

import torch
from lightning_fabric import Fabric
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks, make_grid

from xbench.data import Data
from xbench.files.writing import DRAWN_BY, write_file
from xbench.tasks.detection import find_boxes
from xbench.tasks.segmentation import IGNORED
from xbench.training.job import Job

PICTURES = 8
SHOWN_FROM = 0.3  # the score of a box
WIDEST = 320  # pixels of a picture in the drawing
COLOURS = ["#0173B2", "#DE8F05", "#029E73", "#D55E00", "#CC78BC", "#CA9161", "#FBAFE4", "#949494", "#ECE133", "#56B4E9"]


@torch.inference_mode()
def draw_answers(model: nn.Module, data: Data, job: Job, fabric: Fabric, path: Path) -> None:
    """A picture of test pictures, truth above answers; nothing for classes, of which there is nothing to be seen.

    Raises:
        UserError: it cannot be written.
    """
    if job.task == "classify":
        return
    model.eval()
    shown: list[tuple[Tensor, Tensor]] = []
    for images, targets in islice(data.evaluate("test"), PICTURES):
        outputs = model(images.to(fabric.device)).float().cpu()
        for image, target, output in zip(_pixels(images), targets, outputs, strict=True):
            draw = _boxes if job.task == "detect" else _classes
            shown.append(draw(image, target, output, job.img_size))
            if len(shown) == PICTURES:
                break
        if len(shown) == PICTURES:
            break
    rows = [_small(picture) for row in zip(*shown, strict=True) for picture in row]
    write_file(path, _png(to_pil_image(make_grid(rows, nrow=len(shown), padding=4, pad_value=255))))


def _pixels(images: Tensor) -> Tensor:
    """[n, 3, H, W] uint8."""
    mean, std = (torch.tensor(colour).view(3, 1, 1) for colour in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    return (255 * (images * std + mean)).round().clamp(0, 255).to(torch.uint8)


def _boxes(image: Tensor, target: Tensor, output: Tensor, img_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    objects = target[target[:, 4] >= 0]
    (found,) = find_boxes(output[None], img_size, SHOWN_FROM)
    return (
        _drawn(image, objects[:, :4], objects[:, 4].long(), None),
        _drawn(image, found["boxes"], found["labels"], found["scores"]),
    )


def _drawn(image: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor | None) -> Tensor:
    if not len(boxes):
        return image
    said = [str(label) for label in labels.tolist()]
    if scores is not None:
        said = [f"{label} {100 * score:.0f}%" for label, score in zip(said, scores.tolist(), strict=True)]
    colours = [COLOURS[label % len(COLOURS)] for label in labels.tolist()]
    return draw_bounding_boxes(image, boxes, said, colours, width=2)


def _classes(image: Tensor, target: Tensor, output: Tensor, img_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    classes = len(output)

    def drawn(labels: Tensor) -> Tensor:
        masks = labels[None] == torch.arange(1, classes)[:, None, None]
        colours = [COLOURS[label % len(COLOURS)] for label in range(classes - 1)]
        return draw_segmentation_masks(image, masks & (labels != IGNORED), alpha=0.7, colors=colours)

    return drawn(target), drawn(output.argmax(dim=0))


def _small(picture: Tensor) -> Tensor:
    """A [3, H, W] no wider than ``WIDEST``."""
    scale = WIDEST / picture.shape[-1]
    if scale >= 1:
        return picture
    size = [round(scale * side) for side in picture.shape[-2:]]
    return torch.nn.functional.interpolate(picture[None].float(), size, mode="area")[0].to(torch.uint8)


def _png(picture: Image.Image) -> bytes:
    content, said = BytesIO(), PngInfo()
    said.add_text("Software", DRAWN_BY)
    picture.save(content, "PNG", optimize=True, pnginfo=said)
    return content.getvalue()
