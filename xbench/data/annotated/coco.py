"""COCO's layout: ``annotations/instances_<split>.json`` and the pictures of a split in a folder of its name.

What no box can be made of is left out and counted: boxes without an area, inverted ones, and ones that lie outside
their picture; what reaches beyond a picture is cut off. Whatever else is not as COCO has it is an error that names the
file and the annotation. Crowds stay, as COCO counts them: they are neither learnt nor missed. Categories get numbers
from 0 in the order of their ids, which may have gaps.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xbench.data.annotated.pictures import Objects
from xbench.data.chance import fingerprint
from xbench.data.pictures import NAMED
from xbench.errors import UserError

PREFIX = "instances_"


def words_of(root: Path) -> list[str]:
    """The set's own words for its splits, sorted."""
    return sorted(path.stem.removeprefix(PREFIX) for path in (root / "annotations").glob(f"{PREFIX}*.json"))


class CocoPictures:
    """The pictures of one split and their boxes, by number, in the order of their ids.

    Attributes:
        names: of the categories, by their number from 0.
        facts: what was left out, or cut off.

    Raises:
        UserError: the file cannot be read, or is not as COCO has it.
    """

    def __init__(self, root: Path, word: str):
        self._file = root / "annotations" / f"{PREFIX}{word}.json"
        self._folder = next(
            (folder for folder in (root / word, root / "images" / word) if folder.is_dir()), root / word
        )
        content = _read(self._file)
        images = {one["id"]: one for one in self._listed(content, "images", ("id", "file_name", "width", "height"))}
        categories = sorted(self._listed(content, "categories", ("id", "name")), key=lambda one: one["id"])
        numbers = {one["id"]: number for number, one in enumerate(categories)}
        self.names = [str(one["name"]) for one in categories]
        self._left: dict[str, list[Any]] = {}
        rows: dict[Any, list[tuple[float, ...]]] = {key: [] for key in images}
        for one in self._listed(content, "annotations", ("id", "image_id", "category_id", "bbox")):
            if one["image_id"] not in images:
                self._refuse(one, f"is of image {one['image_id']!r}, which is not among the images")
            if one["category_id"] not in numbers:
                self._refuse(one, f"is of category {one['category_id']!r}, which is not among the categories")
            box = self._box(one, images[one["image_id"]])
            if box is not None:
                rows[one["image_id"]].append((*box, numbers[one["category_id"]], bool(one.get("iscrowd", 0))))
        self._images = [images[key] for key in sorted(images)]
        self._objects = [_objects(rows[one["id"]], one) for one in self._images]
        self.facts = {
            "objects": sum(len(one.labels) for one in self._objects),
            **{what: {"number": len(ids), "first": ids[:NAMED]} for what, ids in self._left.items()},
        }

    def _listed(self, content: Any, name: str, needed: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        found = content.get(name) if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise UserError(f"'{self._file}' is not as COCO has it: there is no list of {name} in it.")
        seen = set()
        for number, one in enumerate(found):
            missing = [key for key in needed if not isinstance(one, dict) or key not in one]
            if missing:
                raise UserError(f"'{self._file}': number {number} of the {name} has no {missing[0]}.")
            try:
                repeated = one["id"] in seen
            except TypeError:
                raise UserError(f"'{self._file}': the id of number {number} of the {name} is no number.") from None
            if repeated:
                raise UserError(f"'{self._file}': two of the {name} have the id {one['id']!r}.")
            seen.add(one["id"])
            yield one

    def _box(self, one: dict[str, Any], image: dict[str, Any]) -> tuple[float, float, float, float] | None:
        """x₁ y₁ x₂ y₂ within the picture; None where nothing of it is there."""
        box = one["bbox"]
        numbers = isinstance(box, list) and len(box) == 4 and all(type(side) in (int, float) for side in box)
        if not numbers or not all(map(math.isfinite, box)):
            self._refuse(one, f"has the box {box!r}, not four numbers: x, y, width, height")
        x, y, width, height = box
        if width <= 0 or height <= 0:
            self._leave("boxes_without_area", one)
            return None
        inside = (max(x, 0.0), max(y, 0.0), min(x + width, image["width"]), min(y + height, image["height"]))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            self._leave("boxes_outside", one)
            return None
        # Half a pixel beyond is how annotations are rounded.
        if max(inside[0] - x, inside[1] - y, x + width - inside[2], y + height - inside[3]) > 0.5:
            self._leave("boxes_cut", one)
        return inside

    def _leave(self, what: str, one: dict[str, Any]) -> None:
        self._left.setdefault(what, []).append(one["id"])

    def _refuse(self, one: dict[str, Any], why: str) -> None:
        raise UserError(f"'{self._file}': annotation {one['id']!r} {why}.")

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Image.Image, Objects]:
        return Image.open(self._folder / self._images[index]["file_name"]), self._objects[index]

    def name(self, index: int) -> str:
        return f"{self._folder.name}/{self._images[index]['file_name']}"

    def fingerprint(self) -> str:
        parts: list[object] = [self.names]
        for image, own in zip(self._images, self._objects, strict=True):
            parts += [image["file_name"], own.boxes.tobytes(), own.labels.tobytes(), own.crowd.tobytes()]
        return fingerprint(parts)


def _objects(rows: list[tuple[float, ...]], image: dict[str, Any]) -> Objects:
    table = np.array(rows, np.float64).reshape(-1, 6)
    size = (image["width"], image["height"])
    return Objects(table[:, :4].astype(np.float32), table[:, 4].astype(np.int64), table[:, 5].astype(bool), size)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read '{file}': {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"'{file}', line {error.lineno}, is no JSON: {error.msg}.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"'{file}' is no JSON: {type(error).__name__}.") from error
