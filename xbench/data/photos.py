"""Input images for measurements: real photographs, because zeros and noise are not what a network meets."""

import hashlib
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from xbench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def photo_paths(folder: str | None = None) -> list[Path]:
    """The photographs in ``folder``, sorted by name; scikit-learn's two samples (China, flower) where none is given.

    Raises:
        UserError: the folder does not exist or holds no image.
    """
    if folder is None:
        # Found by path: importing sklearn.datasets takes longer than everything else here.
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise UserError(
                "the default images come with scikit-learn, which is not installed; name a folder: --images DIR."
            )
        where = Path(package.origin).parent / "datasets" / "images"
    else:
        where = Path(folder)
        if not folder or not where.is_dir():
            raise UserError(f"--images '{folder}' is not a folder.")
    paths = sorted(path for path in where.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"'{where}' holds no image ({', '.join(SUFFIXES)}).")
    return paths


def photos_digest(paths: list[Path]) -> str:
    """Hash of the photographs' content.

    Raises:
        UserError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read the image {path}: {error.strerror}.") from error
    return digest.hexdigest()[:16]


def check_photos(paths: list[Path]) -> None:
    """Looks at the photographs before anything is done with them.

    Raises:
        UserError: one cannot be read, or is no image.
    """
    for path in paths:
        _shown(path)


def _shown(path: Path) -> "Image":
    """What the photograph shows, in RGB."""
    from PIL import Image

    from xbench.data.shown import as_shown, why_unreadable

    try:
        with Image.open(path) as image:
            return as_shown(image)
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise UserError(f"'{path}' cannot be read as an image: {why_unreadable(error)}.") from error


def load_photos(paths: list[Path], batch: int, img_size: tuple[int, int]) -> "Tensor":
    """A batch of photographs: [batch, 3, H, W], float32, normalised with ImageNet's mean and deviation.

    Each is resized so that it covers H × W and cropped at the centre; fewer photographs than ``batch`` are repeated.

    Raises:
        UserError: a file is not an image.
    """
    import torch
    from PIL import Image, ImageOps
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from torchvision.transforms.functional import normalize, to_tensor

    photos = []
    for path in paths[:batch]:
        fitted = ImageOps.fit(_shown(path), (img_size[1], img_size[0]), Image.Resampling.BICUBIC)
        photos.append(normalize(to_tensor(fitted), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    return torch.stack(list(islice(cycle(photos), batch)))
