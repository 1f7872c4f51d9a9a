"""What a picture shows: its file's pixels, of whatever kind, as the RGB that a viewer would put on the screen.

Pillow's own ``convert("RGB")`` clips 16-bit greys to white, uncovers what transparent pixels hide, and leaves a
photograph on its side. Here greys keep their scale, what is transparent lies on white, and a picture stands as its EXIF
says. An animation shows its first frame, and a file of several pages its first page. Colour profiles are not applied,
as they are in no usual training.
"""

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
# Older versions of Pillow give these files' 16 bits in 32.
SIXTEEN_IN_32 = ("PNG", "PPM")
TIFF_BITS, TIFF_MEANING, BLACK_IS_ZERO = 258, 262, 1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def as_shown(picture: Image.Image) -> Image.Image:
    """The picture in RGB, decoded as a whole.

    Raises:
        ValueError: pixels without a defined black and white, so that nobody knows what they show.
        Exception: whatever Pillow raises for a file that is not whole.
    """
    picture.load()
    rgb = _in_rgb(picture)
    turn = TURNS.get(_orientation(picture))
    return rgb if turn is None else rgb.transpose(turn)


def _in_rgb(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode in SIXTEEN_BITS or (mode == "I" and picture.format in SIXTEEN_IN_32):
        return _from_16_bits(picture)
    if mode in ("I", "F"):
        kind = "32-bit integers" if mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, of which no file says what is black and what is white")
    if picture.has_transparency_data:
        opaque = Image.new("RGBA", picture.size, "white")
        opaque.alpha_composite(picture.convert("RGBA"))
        return opaque.convert("RGB")
    # Converting would copy one that is RGB already.
    return picture if mode == "RGB" else picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    tags = getattr(picture, "tag_v2", None)
    if tags is not None and (tags.get(TIFF_BITS), tags.get(TIFF_MEANING)) != ((16,), BLACK_IS_ZERO):
        raise ValueError("its greys are not the usual 16 bits from black to white")
    grey = np.rint(np.asarray(picture) / 257).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Broken tags are no reason to do without the picture.
        return 1


def why_unreadable(error: Exception) -> str:
    """The reason in a few words, the same in every process: no path of this machine, no address in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().rstrip(".") or type(error).__name__
