"""Decoded pixels are Pillow's and torchvision's, for every kind of file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate.data.decode import decode, size

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)


def kinds() -> dict[str, tuple[Image.Image, str, dict[str, object]]]:
    image = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    palette = image.quantize(16)
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(RGB[:, :, 0]))
    return {
        "jpeg": (image, "JPEG", {}),
        "png": (image, "PNG", {}),
        "bmp": (image, "BMP", {}),
        "webp": (image, "WEBP", {}),
        "grey jpeg": (image.convert("L"), "JPEG", {}),
        "grey png": (image.convert("L"), "PNG", {}),
        "grey and alpha": (alpha.convert("LA"), "PNG", {}),
        "bilevel": (image.convert("1"), "PNG", {}),
        "palette": (palette, "PNG", {}),
        "rgba": (alpha, "PNG", {}),
        "cmyk": (image.convert("CMYK"), "JPEG", {}),
        "turned by exif": (image, "JPEG", {"exif": exif}),
    }


@pytest.mark.parametrize("kind", kinds())
def test_as_torchvision_loads_it(kind: str, tmp_path: Path) -> None:
    from torchvision.datasets.folder import pil_loader

    image, form, options = kinds()[kind]
    file = tmp_path / "image"
    image.save(file, form, **options)
    pixels = decode(file.read_bytes())
    assert np.array_equal(pixels, np.asarray(pil_loader(str(file))))
    assert pixels.shape == (9, 14, 3)
    assert size(file.read_bytes()) == (9, 14)


def test_palette_with_transparency_keeps_the_colours_and_warns_nobody() -> None:
    buffer = io.BytesIO()
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(buffer, "PNG", transparency=bytes(range(16)))
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(decode(buffer.getvalue()), expected)


def test_sixteen_bits_are_scaled() -> None:
    values = np.array([[0, 257, 128 * 257], [65535, 40000, 1]], dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    expected = np.array([[0, 1, 128], [255, 156, 0]])  # value × 255 / 65535, rounded
    assert np.array_equal(decode(buffer.getvalue()), np.repeat(expected[..., None], 3, 2))
