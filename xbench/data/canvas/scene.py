"""The canvas task: what lies where on a canvas, before anything is drawn.

White digits lie on coloured tiles at the two ends of the canvas's longer side. Every digit lies once at either end. One
of them has the same colour at both, and the label is that digit; the others have exchanged their colours:

    red 3, blue 5, green 8   …   blue 8, red 3, green 5      → 3

So both ends show the same digits and the same colours, and which they are says nothing beyond 1 in ``pairs``. What
decides is how they belong together, and that is known only to who compares the ends tile by tile: an average over the
canvas has lost it, unless it keeps an account of colour for every digit, and the colours are continuous and new on
every canvas.

That is the intent, and a few pairs do not reach it. Without any attention the xxs skeleton learns five pairs at 32 ×
480 as it does with softmax (63.3 and 64.2 % of the validation after 13 epochs, one seed; guessing among the digits
shown gives 20 %), although partners lie 160 pixels apart or more. What can carry it are the averages of
squeeze-and-excitation, which have more channels than there are digits and colours to keep together, and in part
convolutions, which reach about 150 pixels to either side. So an accuracy here tells what a skeleton learns of distant
digits, not yet what its attention adds.

A scene is a function of one row of uniform numbers, in units of the canvas's sides: it is the same at any resolution.
"""

import math
from dataclasses import dataclass

import numpy as np

from xbench.data.chance import seed_of
from xbench.data.digits import NUM_CLASSES, Digits
from xbench.data.names import CanvasOptions

GLYPH = 8
INK, TILE = 0.85, 0.8  # size of a digit in its tile; brightness of a tile, under the digit's white


@dataclass(frozen=True)
class Scenes:
    """n canvases with d digits, as many tiles and c pieces of clutter; lengths in units of the canvas's sides.

    Attributes:
        labels: [n] the digit whose two tiles have the same colour.
        classes: [n, d] the digits; i and i + d/2 are a pair, equal and at opposite ends; the label's come first.
        shown: [n, d] bool; the others have no ink.
        glyphs: [n, c + 2d, 8, 8] ink from 0 to 1, in the order of drawing: clutter, tiles, digits.
        centres: [n, c + 2d, 2] (y, x).
        sizes: [n, c + 2d, 2] height and width of the whole glyph.
        colours: [n, c + 2d, 3] red, green and blue, 0 to 1.
        ground: [n, 8, 8] brightness of the canvas, to be enlarged smoothly.
    """

    labels: np.ndarray
    classes: np.ndarray
    shown: np.ndarray
    glyphs: np.ndarray
    centres: np.ndarray
    sizes: np.ndarray
    colours: np.ndarray
    ground: np.ndarray


class _Luck:
    """Rows of uniform numbers, [n, columns], handed out from left to right."""

    def __init__(self, rows: np.ndarray):
        self.rows, self.used = rows, 0

    def __call__(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        start, self.used = self.used, self.used + math.prod(shape)
        return low + (high - low) * self.rows[:, start : self.used].reshape(len(self.rows), *shape)


class Scenery:
    """Sets scenes with the digits of one split for canvases of that shape (height, width).

    Things lie in a grid of about square cells, one and a half times as many as digits or more. Digits take as many
    layers of cells from either end of the longer side as they need.

    Args:
        partial: share of the scenes that show from one pair to all of them, that of the label always.
    """

    def __init__(self, options: CanvasOptions, digits: Digits, shape: tuple[int, int] = (1, 1), partial: float = 0.0):
        self.options, self.digits, self.partial = options, digits, partial
        self.first = np.searchsorted(digits.labels, np.arange(NUM_CLASSES + 1))
        aspect = max(shape) / min(shape)
        across = math.ceil(math.sqrt(1.5 * options.digits / aspect))
        along = math.floor(across * aspect)
        upright = shape[0] > shape[1]
        self.cells = np.array((along, across) if upright else (across, along))
        places = np.stack(np.divmod(np.arange(across * along), across), axis=1)  # [cells, 2], end after end
        self.places = places if upright else places[:, ::-1]
        self.end = across * math.ceil(options.digits / 2 / across)  # cells of an end

    def set(self, indices: np.ndarray, *key: str | int) -> Scenes:
        """The scenes with these numbers in the series that the key names."""
        columns = self._columns()
        seed = seed_of("canvas", *key)
        rows = [np.random.Generator(np.random.Philox(key=[seed, int(i)])).random(columns) for i in indices]
        return self._scenes(_Luck(np.stack(rows)))

    def _columns(self) -> int:
        """How many numbers a scene needs, found by setting one."""
        luck = _Luck(np.full((1, 1 << 16), 0.5))
        self._scenes(luck)
        return luck.used

    def _scenes(self, luck: _Luck) -> Scenes:
        options, n = self.options, len(luck.rows)
        pairs, cells = options.digits // 2, len(self.places)

        drawn = luck(NUM_CLASSES).argsort(axis=1)[:, :pairs]  # [n, pairs] different classes, the label first
        classes = np.tile(drawn, 2)  # [n, d]
        low, high = self.first[classes], self.first[classes + 1]
        ink = self.digits.images[(low + luck(options.digits) * (high - low)).astype(np.int64)]  # [n, d, 8, 8]

        some = luck(1) < self.partial
        most = np.where(some, pairs * luck(1) ** 2, pairs)  # [n, 1], more often few
        shown = np.tile(np.arange(pairs) <= most, 2)  # [n, d]
        visible = shown[:, :, None, None]

        ends = luck(2, self.end).argsort(axis=2)[:, :, :pairs]  # [n, 2, pairs]
        home = (ends + np.array([[0], [cells - self.end]])).reshape(n, -1)  # [n, d]
        taken = np.zeros((n, cells), dtype=bool)
        np.put_along_axis(taken, home, True, axis=1)

        hue = luck(1) + (np.arange(pairs) + luck(pairs, low=-0.05, high=0.05)) / pairs  # [n, pairs]
        hue = np.take_along_axis(hue, luck(pairs).argsort(axis=1), axis=1)
        colour = _rgb(hue, luck(pairs, low=0.6, high=1.0), luck(pairs, low=0.7, high=1.0))  # [n, pairs, 3]
        exchanged = np.concatenate([colour[:, :1], np.roll(colour[:, 1:], 1, axis=1)], axis=1)
        tiles = np.concatenate([colour, exchanged], axis=1)  # [n, d, 3]

        pieces = round(options.clutter * (cells - options.digits))
        clutter_home = np.where(taken, 2.0, luck(cells)).argsort(axis=1)[:, :pieces]  # [n, c]
        clutter_ink = self._clutter(luck, pieces)
        clutter_colour = _rgb(luck(pieces), luck(pieces), luck(pieces, low=0.3, high=0.8))

        where = np.concatenate([clutter_home, home], axis=1)  # [n, c + d]
        centres = (self.places[where] + 0.5 + luck(where.shape[1], 2, low=-0.05, high=0.05)) / self.cells
        sizes = luck(where.shape[1], 1, low=0.9, high=1.1) / self.cells
        on_tiles = slice(pieces, None)
        return Scenes(
            labels=drawn[:, 0],
            classes=classes,
            shown=shown,
            glyphs=np.concatenate([clutter_ink, np.ones_like(ink) * visible, ink * visible], axis=1),
            centres=np.concatenate([centres, centres[:, on_tiles]], axis=1),
            sizes=np.concatenate([sizes, INK * sizes[:, on_tiles]], axis=1),
            colours=np.concatenate([clutter_colour, TILE * tiles, np.ones_like(tiles)], axis=1),
            ground=luck(GLYPH, GLYPH, low=0.0, high=0.25),
        )

    def _clutter(self, luck: _Luck, pieces: int) -> np.ndarray:
        """[n, pieces, 8, 8]: strokes and fragments of this split's digits, half of each."""
        n = len(luck.rows)
        digit = self.digits.images[(luck(pieces) * len(self.digits)).astype(np.int64)]
        angle = luck(pieces, 1, 1, low=0.0, high=2 * math.pi)
        y, x = np.mgrid[:GLYPH, :GLYPH] - (GLYPH - 1) / 2
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle)
        half = np.clip(along + luck(pieces, 1, 1, low=-1.0, high=0.5), 0, 1)
        bend = luck(pieces, 1, 1, low=-0.15, high=0.15)
        stroke = np.clip(1.5 - np.abs(across - bend * along**2), 0, 1) * np.clip(4 - np.abs(along), 0, 1)
        kind = luck(pieces, 1, 1) < 0.5
        return np.where(kind, stroke, digit * half).astype(np.float32).reshape(n, pieces, GLYPH, GLYPH)


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Hue (in turns), saturation and value [...] → red, green and blue [..., 3] (A. R. Smith, SIGGRAPH 1978)."""
    k = (hue[..., None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    return value[..., None] * (1 - saturation[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1))
