"""One image file to uint8 RGB, as torchvision's loaders do it.

Greyscale, palette and CMYK are converted, transparency is dropped, 16-bit greyscale is scaled to
8 bits, and an EXIF orientation is not applied (torchvision's ImageFolder does not either).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Part of every trial's key: raise the number when the same file decodes to other pixels.
DECODER = "pillow-1"


def decode(data: bytes) -> NDArray[np.uint8]:
    """[h, w, 3] uint8; raises whatever Pillow raises for a damaged file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(_rgb(image))


def size(data: bytes) -> tuple[int, int]:
    """(height, width) from the header alone."""
    with Image.open(io.BytesIO(data)) as image:
        return image.height, image.width


def _rgb(image: Any) -> Any:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # straight to RGB, Pillow warns
    if image.mode.startswith("I"):  # Pillow clips 16 bits to 255 instead of scaling
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(values.clip(0, 65535) / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    return image.convert("RGB")
