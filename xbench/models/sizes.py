"""The widths of XFormer and the images it takes. Imports no torch, so that a wrong request is refused at once."""

import math
from dataclasses import dataclass, replace

from xbench.errors import UserError, unknown_name
from xbench.parsing.axes import MIN_IMG_SIZE

MADE_FOR = (256, 256)  # what the paper trains and tests it at


@dataclass(frozen=True)
class Stage:
    """A row of the table: ``repeats`` MV3 blocks, the first with ``stride``, then an XF block of ``depth`` layers."""

    channels: int
    stride: int = 2
    repeats: int = 1
    embed_dim: int = 0
    mlp_ratio: float = 2.0
    depth: int = 0


@dataclass(frozen=True)
class XFormerSize:
    """Stages 1 to 5, ``qkv_dim`` of every attention, ``exp_ratio`` of every MV3 block, width of the head, and whether
    the MV3 blocks have squeeze-and-excitation.
    """

    stages: tuple[Stage, ...]
    qkv_dim: int
    head: int
    exp_ratio: float = 4.0
    squeeze_excite: bool = True


# `s` is the paper's. `xs` and `xxs` are our choice: MobileViT's widths for those sizes, qkv_dim scaled like embed_dim.
SIZES = {
    "s": XFormerSize(
        (
            Stage(32, stride=1),
            Stage(64, repeats=3),
            Stage(96, embed_dim=144, depth=2),
            Stage(128, embed_dim=192, depth=4),
            Stage(160, embed_dim=240, depth=3, mlp_ratio=3.0),
        ),
        qkv_dim=96,
        head=640,
    ),
    "xs": XFormerSize(
        (
            Stage(32, stride=1),
            Stage(48, repeats=3),
            Stage(64, embed_dim=96, depth=2),
            Stage(80, embed_dim=120, depth=4),
            Stage(96, embed_dim=144, depth=3, mlp_ratio=3.0),
        ),
        qkv_dim=64,
        head=384,
    ),
    "xxs": XFormerSize(
        (
            Stage(16, stride=1),
            Stage(24, repeats=3),
            Stage(48, embed_dim=64, depth=2),
            Stage(64, embed_dim=80, depth=4),
            Stage(80, embed_dim=96, depth=3, mlp_ratio=3.0),
        ),
        qkv_dim=40,
        head=320,
        exp_ratio=2.0,
    ),
}


WITHOUT_SE = ":se=0"


def find_size(spec: str) -> XFormerSize:
    """The widths that "s", "xs" or "xxs" names; "s:se=0" is without squeeze-and-excitation, which carries averages from
    everywhere to everywhere, as an attention does.

    Raises:
        UserError: no such size, or another option.
    """
    name = spec.removesuffix(WITHOUT_SE)
    if name not in SIZES:
        raise unknown_name("size", spec, [*SIZES, *(f"{known}{WITHOUT_SE}" for known in SIZES)])
    return SIZES[name] if name == spec else replace(SIZES[name], squeeze_excite=False)


def check_input(img_size: tuple[int, int], patch_size: int, reduction: int = 32) -> None:
    """Refuses images, (height, width), that XFormer cannot take in a meaningful way.

    ``reduction`` is that of the smallest map with patches: 32 in the whole model, 8 in the XF block of stage 3.
    At 32 pixels the last feature map is 1 × 1; MobileViT's frame enlarges it to one 2 × 2 patch, so p ≤ 2 always works.

    Raises:
        UserError: a side under 32 pixels, or a patch larger than the smallest feature map.
    """
    height, width = img_size
    if min(img_size) < MIN_IMG_SIZE:
        raise UserError(f"image size {height}×{width} is too small: the least is {MIN_IMG_SIZE} pixels a side.")
    smallest = -(-min(img_size) // reduction)
    stage = int(math.log2(reduction))
    if patch_size > max(2, smallest):
        raise UserError(
            f"patch size {patch_size} is larger than the {smallest}-pixel feature map of stage {stage} "
            f"at image size {height}×{width}; allowed there: 1 to {max(2, smallest)}."
        )
