"""One picture file as the bytes that a viewer shows: upright, opaque, its first frame, 8 bits a channel; or refused.

What is transparent shows a white ground. Pillow reads the files; its errors become one line with the file's path.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Named, so that a file with another's suffix cannot reach Pillow's other readers, of which one starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
GREY_16 = ("I", "I;16", "I;16B", "I;16L", "I;16N")
GREY = ("1", "L", "LA", *GREY_16)
COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ALPHA = ("LA", "PA", "RGBA")

ORIENTATION, PHOTOMETRIC, WIDTH, HEIGHT = 0x0112, 0x0106, 0x0100, 0x0101  # tags of TIFF, and so of EXIF
WHITE_IS_ZERO = 0
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = (5, 6, 7, 8)
# Names of what may say in a PNG file, in front of the pixels or behind them, how the picture lies.
NOTES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


@dataclass(frozen=True)
class Header:
    """What a file says before its pixels are read: `size` is (height, width), upright."""

    size: tuple[int, int]
    grey: bool
    moves: bool


def header(path: Path) -> Header:
    """Size and kind of a picture, without reading its pixels.

    Raises:
        ValueError: in one line with the path, if the file is none of `FORMATS`, damaged, in colours that are not taken,
            or has more pixels than Pillow allows (`PIL.Image.MAX_IMAGE_PIXELS`, twice).
    """
    with _opened(path) as picture:
        mode, (width, height) = picture.mode, picture.size
        if picture.format == "TIFF":  # Pillow's size is upright since version 11, and was not before
            width, height = picture.tag_v2[WIDTH], picture.tag_v2[HEIGHT]
            orientation = picture.tag_v2.get(ORIENTATION)
        else:
            # Of a PNG file Pillow would read all pixels, to look behind them too.
            noted = picture.format != "PNG" or _mentions(path, NOTES)
            orientation = _orientation(picture) if noted else 1
        # A camera's two pictures in one file are no film.
        moves = getattr(picture, "is_animated", False) and picture.format != "MPO"
        taken = mode in GREY + COLOUR and (mode != "I" or picture.format in ("PNG", "PPM"))
    if not taken:
        modes = ", ".join(mode for mode in GREY + COLOUR if mode != "I")
        raise ValueError(
            f"{path} must have one of Pillow's modes {modes}; it has {mode!r}. Save it as grey or RGB with 8 bits."
        )
    return Header((width, height) if orientation in ON_ITS_SIDE else (height, width), mode in GREY, moves)


def read(path: Path, size: tuple[int, int], grey: bool) -> np.ndarray:
    """The picture in bytes, `(height, width, 1 or 3)`, made smaller or larger until it just fits, black around it.

    Raises:
        ValueError: in one line with the path, if the file is damaged.
    """
    with _opened(path) as picture:
        packed = _packed(picture)
        picture.load()
        turn = TURNS.get(_orientation(picture))
        shown = _opaque(picture, packed)
        shown = shown if turn is None else shown.transpose(turn)
        fitted = _fitted(shown.convert("L" if grey else "RGB"), *size)
    return np.asarray(fitted).reshape(*size, -1)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            yield picture
    # Pillow's decoders raise whatever comes first on damaged bytes: a dozen kinds, from KeyError to DecompressionBomb.
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a picture ({why}). Mend it, or take it out.") from error


def _mentions(path: Path, names: tuple[bytes, ...]) -> bool:
    content = path.read_bytes()
    return any(name in content for name in names)


def _orientation(picture: Any) -> int:
    """How the camera was held, 1 to 8. Other things in its notes may be as odd as they like."""
    found = _noted(picture.info.get("exif", b""))
    if found is None:
        try:
            found = picture.getexif().get(ORIENTATION)  # which knows XMP and other places, too
        except Exception:
            found = None  # no note that can be read is no note
    return found if found in TURNS else 1


def _noted(exif: bytes) -> int | None:
    """The orientation in EXIF's bytes, of which nothing else is read: Pillow gives up at the first odd tag."""
    data = re.sub(rb"^(Exif\0\0)+", b"", exif)
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHL4s", data, start + 2 + 12 * number)
            if tag == ORIENTATION:
                return struct.unpack_from(f"{order}{'L' if kind == 4 else 'H'}", value)[0]
    except struct.error:
        pass
    return None


def _packed(picture: Any) -> str:
    """How the file packs its pixels, in Pillow's words: "L;4" are 4 bits that it spreads out to 8."""
    arguments = picture.tile[0][3] if picture.tile else ""
    return str(arguments if isinstance(arguments, str) else (arguments or [""])[0])


def _opaque(picture: Any, packed: str) -> Image.Image:
    """The picture with at most 8 bits a channel, on white where it is transparent."""
    key = picture.info.get("transparency")
    if picture.mode in ALPHA or picture.mode == "P" and (key is not None or picture.palette.mode == "RGBA"):
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if picture.mode not in GREY_16 and (key is None or picture.mode not in ("1", "L", "RGB")):
        return picture
    values = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    if picture.mode in GREY_16:
        brightest = 4095 if packed == "I;12" else 65535
        grey = np.round(np.clip(values, 0, brightest) * (255 / brightest)).astype("uint8")
        if picture.format == "TIFF" and picture.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
            grey = 255 - grey  # as Pillow does with 8 bits
        shown = Image.fromarray(grey)
    else:
        shown = Image.fromarray(values)
    if key is not None:  # one colour, as it is in the file, that is not to be seen
        times, shift = {"L;2": (85, 0), "L;4": (17, 0), "RGB;16B": (1, 8)}.get(packed, (1, 0))
        hidden = values == np.asarray(key) * times >> shift
        hidden = hidden.all(-1) if hidden.ndim == 3 else hidden
        shown.paste("white", mask=Image.fromarray(255 * hidden.astype("uint8")))
    return shown


def _fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    share = min(width / picture.width, height / picture.height)
    # However narrow, a picture has a pixel.
    inner = max(1, round(share * picture.width)), max(1, round(share * picture.height))
    if inner != picture.size:
        picture = picture.resize(inner, Image.Resampling.BICUBIC)
    if inner == (width, height):
        return picture
    ground = Image.new(picture.mode, (width, height))
    ground.paste(picture, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return ground
