"""Draws scenes: every glyph is enlarged by two small matrix products, one for its rows and one for its columns."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xbench.data.canvas.scene import GLYPH, Scenes

REACH = 2  # of cubic convolution, in rows of a glyph


def draw(scenes: Scenes, img_size: tuple[int, int]) -> Tensor:
    """[n, 3, H, W] float32, 0 to 1."""
    n, pieces = scenes.glyphs.shape[:2]
    ground = _enlarge(scenes.ground, np.full((n, 2), 0.5), np.ones((n, 2)), img_size)
    canvases = ground.cover[:, None].repeat(1, 3, 1, 1)
    colours = torch.from_numpy(scenes.colours.astype(np.float32))[..., None, None]  # [n, pieces, 3, 1, 1]
    for piece in range(pieces):
        for canvas, colour, cover, window in zip(
            canvases, colours[:, piece], *_piece(scenes, piece, img_size), strict=True
        ):
            under = canvas[:, *window]
            under.addcmul_(cover, colour - under)
    return canvases


def glyph_cover(scenes: Scenes, piece: int, img_size: tuple[int, int]) -> Tensor:
    """How much of each pixel a piece covers on every canvas: [n, H, W], 0 to 1."""
    whole = torch.zeros(len(scenes.glyphs), *img_size)
    for canvas, cover, window in zip(whole, *_piece(scenes, piece, img_size), strict=True):
        canvas[window] = cover
    return whole


class Enlarged(NamedTuple):
    """Glyphs [n, h, w] and the windows of n canvases in which they lie; outside they are zero."""

    cover: Tensor
    windows: list[tuple[slice, slice]]


def _piece(scenes: Scenes, piece: int, img_size: tuple[int, int]) -> Enlarged:
    """How much of each pixel it covers, 0 to 1."""
    cover, windows = _enlarge(scenes.glyphs[:, piece], scenes.centres[:, piece], scenes.sizes[:, piece], img_size)
    return Enlarged(cover.clamp_(0, 1), windows)


def _enlarge(glyphs: np.ndarray, centres: np.ndarray, sizes: np.ndarray, img_size: tuple[int, int]) -> Enlarged:
    """Glyphs [n, 8, 8] by cubic convolution."""
    tops, rows = _weights(centres[:, 0], sizes[:, 0], img_size[0])  # [n], [n, h, 8]
    lefts, columns = _weights(centres[:, 1], sizes[:, 1], img_size[1])
    cover = rows @ torch.from_numpy(np.ascontiguousarray(glyphs, dtype=np.float32)) @ columns.mT
    height, width = cover.shape[1:]
    windows = [(slice(y, y + height), slice(x, x + width)) for y, x in zip(tops, lefts, strict=True)]
    return Enlarged(cover, windows)


def _weights(centre: np.ndarray, size: np.ndarray, pixels: int) -> tuple[np.ndarray, Tensor]:
    """The first of the m rows of pixels that a glyph may reach, [n], and the share of its 8 rows in them, [n, m, 8].

    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29, 1981, with a = −1/2.
    """
    half = (0.5 + REACH / GLYPH) * size
    reached = min(pixels, math.ceil(2 * half.max() * pixels) + 1)
    first = np.clip(np.floor((centre - half) * pixels), 0, pixels - reached).astype(np.int64)
    at = (first[:, None] + np.arange(reached) + 0.5) / pixels
    place = ((at - centre[:, None]) / size[:, None] + 0.5) * GLYPH - 0.5  # [n, m], in rows of the glyph
    gap = np.abs(place[..., None] - np.arange(GLYPH)).astype(np.float32)
    near = (1.5 * gap - 2.5) * gap**2 + 1
    far = ((-0.5 * gap + 2.5) * gap - 4) * gap + 2
    return first, torch.from_numpy(np.where(gap < 1, near, np.where(gap < 2, far, 0)).astype(np.float32))
