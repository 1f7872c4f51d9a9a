"""Draws scenes: every glyph is enlarged by two small matrix products, one for its rows and one for its columns."""

import numpy as np
import torch
from torch import Tensor

from xbench.data.scene import GLYPH, Scenes


def draw(scenes: Scenes, img_size: tuple[int, int]) -> Tensor:
    """[n, 3, H, W] float32, 0 to 1."""
    canvas = _enlarge(scenes.ground, np.full((len(scenes.ground), 2), 0.5), np.ones((len(scenes.ground), 2)), img_size)
    canvas = canvas[:, None].repeat(1, 3, 1, 1)
    colours = torch.from_numpy(scenes.colours.astype(np.float32))
    for piece in range(scenes.glyphs.shape[1]):
        cover = glyph_cover(scenes, piece, img_size)[:, None]  # [n, 1, H, W]
        canvas += cover * (colours[:, piece, :, None, None] - canvas)
    return canvas


def glyph_cover(scenes: Scenes, piece: int, img_size: tuple[int, int]) -> Tensor:
    """How much of each pixel a piece covers on every canvas: [n, H, W], 0 to 1."""
    return _enlarge(scenes.glyphs[:, piece], scenes.centres[:, piece], scenes.sizes[:, piece], img_size).clamp_(0, 1)


def _enlarge(glyphs: np.ndarray, centres: np.ndarray, sizes: np.ndarray, img_size: tuple[int, int]) -> Tensor:
    """Glyphs [n, 8, 8] on canvases of their own, [n, H, W], by cubic convolution."""
    rows = _weights(centres[:, 0], sizes[:, 0], img_size[0])  # [n, H, 8]
    columns = _weights(centres[:, 1], sizes[:, 1], img_size[1])
    return rows @ torch.from_numpy(np.ascontiguousarray(glyphs, dtype=np.float32)) @ columns.mT


def _weights(centre: np.ndarray, size: np.ndarray, pixels: int) -> Tensor:
    """The share of each of a glyph's 8 rows in each row of pixels: [n, pixels, 8].

    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29, 1981, with a = −1/2.
    """
    at = (np.arange(pixels) + 0.5) / pixels
    place = ((at[None] - centre[:, None]) / size[:, None] + 0.5) * GLYPH - 0.5  # [n, pixels], in rows of the glyph
    gap = np.abs(place[..., None] - np.arange(GLYPH)).astype(np.float32)
    near = (1.5 * gap - 2.5) * gap**2 + 1
    far = ((-0.5 * gap + 2.5) * gap - 4) * gap + 2
    return torch.from_numpy(np.where(gap < 1, near, np.where(gap < 2, far, 0)).astype(np.float32))
