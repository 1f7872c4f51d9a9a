"""What pictures of unusual kinds show, held to the pixels that the makers of the formats say they have."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from xbench.data.photos import check_photos, load_photos
from xbench.data.shown import as_shown
from xbench.errors import UserError

# [3, 4], from black to white.
RAMP = np.linspace(0, 65535, 12).round().astype(np.uint16).reshape(3, 4)
GREY = (RAMP / 65535 * 255).round().astype(int)
COLOURS = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)


def shown(path):
    with Image.open(path) as picture:
        return np.asarray(as_shown(picture)).astype(int)


def kept(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return shown(path)


def png(path, bits, colour_type, rows, **chunks):
    """A PNG by its specification (ISO/IEC 15948): big-endian samples, each row behind a filter byte of 0."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = rows.shape[:2]
    content = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *((k.encode(), v) for k, v in chunks.items()), (b"IDAT", zlib.compress(content))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")]))
    return shown(path)


def test_sixteen_bits_keep_their_scale(tmp_path):
    assert (png(tmp_path / "grey.png", 16, 0, RAMP) == GREY[..., None]).all()
    (tmp_path / "grey.pgm").write_bytes(b"P5 4 3 65535\n" + RAMP.astype(">u2").tobytes())
    assert (shown(tmp_path / "grey.pgm") == GREY[..., None]).all()
    for order in ("<u2", ">u2"):
        assert (kept(tmp_path / "grey.tif", RAMP.astype(order)) == GREY[..., None]).all()
    # Pillow takes the upper of the two bytes, which is at most one step from the nearest value.
    colours = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)
    assert (
        np.abs(png(tmp_path / "colour.png", 16, 2, colours.reshape(3, 12).reshape(3, 4, 3)) - colours / 257).max() <= 1
    )
    alpha = np.full_like(RAMP, 65535)
    assert np.abs(png(tmp_path / "alpha.png", 16, 4, np.stack([RAMP, alpha], -1)) - GREY[..., None]).max() <= 1


def test_what_is_transparent_lies_on_white(tmp_path):
    alpha = np.array([[0, 128, 255, 64]] * 3, np.uint8)
    share = alpha[..., None] / 255
    over = COLOURS * share + 255 * (1 - share)
    assert np.abs(kept(tmp_path / "rgba.png", np.dstack([COLOURS, alpha])) - over).max() <= 1
    over = COLOURS[..., :1] * share + 255 * (1 - share)
    assert np.abs(kept(tmp_path / "la.png", np.dstack([COLOURS[..., 0], alpha])) - over).max() <= 1
    palette, indices = COLOURS.reshape(-1, 3), np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = png(tmp_path / "palette.png", 8, 3, indices, PLTE=palette.tobytes(), tRNS=alpha.tobytes())
    share = alpha.reshape(3, 4, 1) / 255
    assert np.abs(found - (COLOURS * share + 255 * (1 - share))).max() <= 1
    # One colour that is transparent wherever it stands.
    found = png(tmp_path / "key.png", 8, 2, COLOURS, tRNS=COLOURS[0, 0].astype(">u2").tobytes())
    assert (found[0, 0] == 255).all()
    assert (found[1:] == COLOURS[1:]).all()


def test_ink_is_no_light(tmp_path):
    ink = np.random.default_rng(1).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    picture = Image.frombytes("CMYK", (4, 3), ink.tobytes())
    picture.save(tmp_path / "ink.tif")
    light = 255 * (1 - ink[..., :3] / 255) * (1 - ink[..., 3:] / 255)
    assert np.abs(shown(tmp_path / "ink.tif") - light).max() <= 1
    plain = np.zeros((16, 16, 4), np.uint8)
    plain[..., 0] = 255
    Image.frombytes("CMYK", (16, 16), plain.tobytes()).save(tmp_path / "ink.jpg", quality=100)
    assert np.abs(shown(tmp_path / "ink.jpg") - [0, 255, 255]).max() <= 2


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_pictures_stand_upright(tmp_path, turn, kind):
    """By the EXIF standard (CIPA DC-008), "Orientation": where the stored row 0 and column 0 lie as seen."""
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[turn]
    upright = COLOURS
    stored = upright if rows in ("top", "bottom") else upright.transpose(1, 0, 2)
    stored = stored[::-1] if rows in ("bottom", "right") else stored
    stored = stored[:, ::-1] if columns in ("right", "bottom") else stored
    exif = Image.Exif()
    exif[0x0112] = turn
    assert (kept(tmp_path / f"turned.{kind}", np.ascontiguousarray(stored), exif=exif) == upright).all()


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    for kind in ("gif", "png", "webp", "tif"):
        options = {"lossless": True} if kind == "webp" else {}
        frames[0].save(tmp_path / f"moves.{kind}", save_all=True, append_images=frames[1:], **options)
        assert (shown(tmp_path / f"moves.{kind}") == [255, 0, 0]).all(), kind


def test_one_bit_and_a_few_colours(tmp_path):
    bits = COLOURS[..., 0] > 127
    assert (kept(tmp_path / "bits.png", bits) == 255 * bits[..., None]).all()
    found = png(tmp_path / "palette.png", 8, 3, np.arange(12).reshape(3, 4), PLTE=COLOURS.tobytes())
    assert (found == COLOURS).all()


@pytest.mark.parametrize(
    ("array", "words"),
    [(RAMP.astype(np.float32), "floating-point numbers"), (RAMP.astype(np.int32), "32-bit integers")],
)
def test_what_has_no_white_is_refused(tmp_path, array, words):
    with pytest.raises(ValueError, match=words):
        kept(tmp_path / "strange.tif", array)


def test_greys_that_count_down_are_refused(tmp_path):
    path = tmp_path / "inverse.tif"
    Image.fromarray(RAMP).save(path, tiffinfo={262: 0})
    with Image.open(path) as picture:
        assert picture.tag_v2[262] == 0
    with pytest.raises(ValueError, match="greys"):
        shown(path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_tags_do_no_harm(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "tags.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05broken")
    assert (shown(tmp_path / "tags.png") == COLOURS).all()


def test_photographs_to_measure_with_are_shown_alike(tmp_path):
    wide = np.kron(RAMP, np.ones((16, 16), np.uint16))
    Image.fromarray(wide).save(tmp_path / "sixteen.png")
    Image.fromarray((wide / 257).round().astype(np.uint8)).save(tmp_path / "eight.png")
    sixteen, eight = (load_photos([tmp_path / f"{name}.png"], 1, (48, 64)) for name in ("sixteen", "eight"))
    assert sixteen.equal(eight)
    assert sixteen.std() > 0.5  # not all of it white


def test_a_photograph_cut_in_half_is_refused_before_anything_runs(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "half.png")
    whole = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.png' cannot be read as an image"):
        check_photos([tmp_path / "half.png"])
