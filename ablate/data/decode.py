"""One image file to uint8 RGB, as torchvision's loaders do it.

Greyscale, palette, CMYK, YCbCr and CIELab are converted, transparency is dropped, and 16 bits are
scaled to 8. Of several frames or pages the first is taken. An EXIF orientation is not applied
(torchvision's ImageFolder does not either); that of a TIFF is, by Pillow itself. Numbers that have
no range by their format (floats, integers of 32 bits, signed ones) are refused: which of them is
white is anyone's guess.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# Part of every trial's key: raise the number when the same file decodes to other pixels.
DECODER = "pillow-1"

# Files that no longer decode since a cache may have been built from them: raise the number when
# more is refused, and name the endings that may be meant. Such a cache is built again.
REFUSAL, REFUSED_SINCE = 1, (".tif", ".tiff")

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of a TIFF
# Pillow's own limit, twice the number of which it warns: a camera's 100 megapixels fit.
PIXELS = 178_956_970
_PIXELS = {"JPEG2000": PIXELS // 3}  # it takes more memory for each than others do
# `_opened` looks at sizes; of odd tags and chunks what matters is whether the pixels are there.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
_TAKES = 18  # bytes a pixel while it is decoded: 7 for most, 18 for a progressive JPEG
_WHOLE = 1 << 24  # pixels of an image that is converted as a whole
# What a file of any name may be. No others: Pillow hands PostScript to a program, for one.
_FORMATS = frozenset(
    (
        *("JPEG", "PNG", "BMP", "DIB", "WEBP", "PPM", "TIFF", "GIF", "JPEG2000", "AVIF", "PSD"),
        *("ICO", "CUR", "ICNS", "PCX", "SGI", "SUN", "TGA", "QOI", "DDS", "IM", "MSP", "XBM"),
        *("XPM", "SPIDER"),
    )
)
_TO_8_BITS = np.rint(np.arange(65536) / 257).astype(np.uint8)
_SAVE = "save it with 8 bits a channel, scaled as you mean it, or remove it"


class Unfit(ValueError):
    """A file that is no damaged image, and cannot be used all the same. hint: what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def decode(data: bytes, before: Callable[[int], None] | None = None) -> NDArray[np.uint8]:
    """[h, w, 3] uint8; raises `Unfit`, or whatever Pillow raises for a damaged file.

    before: told how many bytes decoding takes, once the header has said it.
    """
    with _opened(data) as image:
        if before is not None:
            before(_TAKES * image.width * image.height)
        if image.width * image.height <= _WHOLE:
            return np.asarray(_rgb(image))
        _check_range(image)
        image.load()
        return _in_strips(image)


def _in_strips(image: Any) -> NDArray[np.uint8]:
    """The same pixels, without copies of a large image for each step on the way to RGB."""
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    rows = max(1, _WHOLE // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image.crop((0, top, image.width, bottom))
        pixels[top:bottom] = np.asarray(_converted(strip))
    return pixels


def size(data: bytes) -> tuple[int, int]:
    """(height, width) from the header alone."""
    with _opened(data) as image:
        return image.height, image.width


@cache
def _formats() -> tuple[str, ...]:
    """Those of this Pillow, in its own order."""
    Image.init()
    return tuple(name for name in Image.ID if name in _FORMATS)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            pixels, most = image.width * image.height, _PIXELS.get(image.format or "", PIXELS)
            if pixels > most:
                raise Image.DecompressionBombError(
                    f"Image size ({pixels} pixels) exceeds limit of {most} pixels"
                )
            yield image
    except Image.DecompressionBombError as error:
        raise Unfit(
            str(error).split(", could be")[0],
            "save a smaller copy, training cuts it down to recipe.image_size anyway; or remove it",
        ) from error
    except UnidentifiedImageError as error:
        raise Unfit(*_unknown(data)) from error


def _unknown(data: bytes) -> tuple[str, str]:
    """What a file is that Pillow does not know, and what to do."""
    if not data:
        return "not an image: the file is empty", "replace it with a whole copy, or remove it"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return (
            "not an image that Pillow can read: a TIFF of an unusual kind",
            "save it as RGB with 8 bits a channel, or remove it",
        )
    if data[4:8] == b"ftyp":
        return "not an image that Pillow can read here", "save it as JPEG or PNG, or remove it"
    return "not an image", "replace it with an image, or remove it"


def _rgb(image: Any) -> Any:
    _check_range(image)
    return _converted(image)


def _converted(image: Any) -> Any:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # straight to RGB, Pillow warns
    if image.mode.startswith("I"):  # Pillow clips 16 bits to 255 instead of scaling
        values = np.asarray(image).clip(0, 65535)
        return Image.fromarray(_TO_8_BITS[values]).convert("RGB")
    image.load()
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise Unfit(
            f"Pillow has no conversion from its mode {image.mode} to RGB",
            "save it as RGB with 8 bits a channel, or remove it",
        ) from error


def _check_range(image: Any) -> None:
    """Raise Unfit where nothing says which number is black and which is white."""
    if image.mode == "F":
        raise Unfit("floating-point pixels have no fixed range", _SAVE)
    if image.format == "TIFF":
        _check_tiff(image)
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # Pillow's for their 16 bits
        raise Unfit("32-bit integer pixels have no fixed range", _SAVE)
    elif image.mode.startswith("I;16") and image.format not in ("PNG", "PPM", "JPEG2000"):
        raise Unfit(f"16-bit pixels of {image.format} have no fixed range", _SAVE)


def _check_tiff(image: Any) -> None:
    def tag(number: int, default: int) -> tuple[int, ...]:
        value = image.tag_v2.get(number, default)
        return value if isinstance(value, tuple) else (value,)

    bits = max(tag(_BITS, 1))
    if set(tag(_SAMPLE_FORMAT, 1)) & {2, 3}:
        raise Unfit("signed pixels have no fixed range", _SAVE)
    if image.mode == "I":
        raise Unfit(f"{bits}-bit integer pixels have no fixed range", _SAVE)
    if image.mode.startswith("I;16") and bits != 16:  # they would come out nearly black
        raise Unfit(f"greyscale of {bits} bits a pixel is not scaled by Pillow", _SAVE)
    if image.mode.startswith("I;16") and tag(_PHOTOMETRIC, 1) == (0,):  # inverted for 8 bits only
        raise Unfit("16-bit greyscale in which 0 is white is not inverted by Pillow", _SAVE)
