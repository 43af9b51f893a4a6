"""Every mode that Pillow gives a file: the right pixels, by formulas and libpng, or a refusal.

The expected values are computed here from the numbers that were written, never by Pillow.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ablate.data.decode import Unfit, _in_strips, _rgb, decode, size
from tests.helpers.tiff import tiff

Pixels = NDArray[np.uint8]
RNG = np.random.default_rng(3)
V8 = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
V16 = RNG.integers(0, 65536, (4, 6), dtype=np.uint16)
V16[0, :2] = 0, 65535
C3 = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
C4 = RNG.integers(0, 256, (4, 6, 4), dtype=np.uint8)
C4[..., 3] |= 1
PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
COLOUR_MAP = (PALETTE.T.astype(np.uint16) * 257).ravel().tolist()
SIZE = (6, 4)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)  # type: ignore[arg-type] # ours are right
    return buffer.getvalue()


def grey(values: NDArray[np.generic]) -> Pixels:
    return np.repeat(np.asarray(values).astype(np.uint8)[..., None], 3, 2)


def cmyk(values: Pixels) -> Pixels:
    """Without a profile: each ink takes its share of what black leaves."""
    ink = values.astype(float) / 255
    return np.rint(255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])).astype(np.uint8)


def ycbcr(values: Pixels) -> Pixels:
    """JFIF 1.02."""
    y, b, r = (values[..., i].astype(float) for i in range(3))
    b, r = b - 128, r - 128
    rgb = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], -1)
    return np.rint(rgb.clip(0, 255)).astype(np.uint8)


def lab(values: Pixels) -> Pixels:
    """CIE 15: L* in 255ths of 100, a* and b* as signed bytes, from D50 to sRGB (Bradford)."""
    lightness = values[..., 0].astype(float) * 100 / 255
    a, b = (values[..., i].view(np.int8).astype(float) for i in (1, 2))
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    to_srgb = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = (xyz @ np.array(to_srgb).T).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved).astype(np.uint8)


def sixteen_bit_png() -> Pixels:
    """libpng's own 16 bits, through torchvision."""
    import torch
    from torchvision.io import decode_png

    data = torch.frombuffer(bytearray(saved(Image.fromarray(V16), "PNG")), dtype=torch.uint8)
    values = decode_png(data).numpy()[0]
    assert np.array_equal(values, V16)
    return grey(np.rint(values / 257.0))


def associated() -> Pixels:
    """Colours that were stored multiplied by their alpha."""
    return (C4[..., :3].astype(float) * 255 / C4[..., 3:]).clip(0, 255).astype(np.uint8)


def in_lab() -> Pixels:
    """Colours within sRGB, where clipping decides nothing."""
    greys = [[255, 0, 0], [0, 0, 0], [128, 0, 0]]
    colours = [[136, 40, 30], [150, 240, 20], [90, 5, 236]]
    return np.array([greys, colours]).astype(np.uint8)


def paletted(data: Pixels) -> Image.Image:
    image = Image.frombytes("P", SIZE, data.tobytes())
    image.putpalette(PALETTE.tobytes())
    return image


BITS = V8 > 127
# name: mode that Pillow gives it, file, expected pixels, and by how much they may differ
TABLE: dict[str, tuple[str, Callable[[], bytes], Callable[[], Pixels], int]] = {
    "1, black is 0": ("1", lambda: tiff(np.packbits(BITS, 1).tobytes(), SIZE, [1], 1),
                      lambda: grey(BITS * 255), 0),
    "1, white is 0": ("1", lambda: tiff(np.packbits(BITS, 1).tobytes(), SIZE, [1], 0),
                      lambda: grey(~BITS * 255), 0),
    "1, png": ("1", lambda: saved(Image.fromarray(BITS), "PNG"), lambda: grey(BITS * 255), 0),
    "L": ("L", lambda: tiff(V8.tobytes(), SIZE, [8], 1), lambda: grey(V8), 0),
    "L, white is 0": ("L", lambda: tiff(V8.tobytes(), SIZE, [8], 0), lambda: grey(255 - V8), 0),
    "L, 4 bits": ("L", lambda: tiff((V8[:, ::2] // 16 * 16 + V8[:, 1::2] // 16).astype(np.uint8)
                                    .tobytes(), SIZE, [4], 1), lambda: grey(V8 // 16 * 17), 0),
    "L, pgm to 15": ("L", lambda: b"P5 6 4 15\n" + (V8 // 16).tobytes(),
                     lambda: grey(V8 // 16 * 17), 0),
    "L, one colour transparent": (
        "L", lambda: saved(Image.fromarray(V8), "PNG", transparency=int(V8[0, 0])),
        lambda: grey(V8), 0),
    "LA": ("LA", lambda: saved(Image.fromarray(C4[..., 2:], "LA"), "PNG"),
           lambda: grey(C4[..., 2]), 0),
    "LA, tiff": ("LA", lambda: tiff(C4[..., 2:].tobytes(), SIZE, [8, 8], 1, {338: [2]}),
                 lambda: grey(C4[..., 2]), 0),
    "P": ("P", lambda: tiff(V8.tobytes(), SIZE, [8], 3, {320: COLOUR_MAP}), lambda: PALETTE[V8], 0),
    "P, transparent": ("P", lambda: saved(paletted(V8), "PNG", transparency=bytes(range(256))),
                       lambda: PALETTE[V8], 0),
    "P, one transparent": ("P", lambda: saved(paletted(V8), "PNG", transparency=int(V8[1, 1])),
                           lambda: PALETTE[V8], 0),
    "PA": ("PA", lambda: tiff(np.stack([V8, C4[..., 3]], -1).tobytes(), SIZE, [8, 8], 3,
                              {338: [2], 320: COLOUR_MAP}), lambda: PALETTE[V8], 0),
    "RGB": ("RGB", lambda: tiff(C3.tobytes(), SIZE, [8] * 3, 2), lambda: C3, 0),
    "RGB, 16 bits, tiff": ("RGB", lambda: tiff((C3.astype(np.uint16) * 257).tobytes(), SIZE,
                                               [16] * 3, 2), lambda: C3, 0),
    "RGB, ppm to 1023": ("RGB", lambda: b"P6 6 4 1023\n" + (C3 * 4.0).astype(">u2").tobytes(),
                         lambda: np.rint(C3 * 4.0 * 255 / 1023).astype(np.uint8), 1),
    "RGB, one colour transparent": (
        "RGB", lambda: saved(Image.fromarray(C3), "PNG", transparency=tuple(C3[0, 0].tolist())),
        lambda: C3, 0),
    "RGBA": ("RGBA", lambda: saved(Image.fromarray(C4), "PNG"), lambda: C4[..., :3], 0),
    "RGBA, associated": ("RGBA", lambda: tiff(C4.tobytes(), SIZE, [8] * 4, 2, {338: [1]}),
                         associated, 1),
    "CMYK": ("CMYK", lambda: tiff(C4.tobytes(), SIZE, [8] * 4, 5), lambda: cmyk(C4), 1),
    "CMYK, 16 bits": ("CMYK", lambda: tiff((C4.astype(np.uint16) * 257).tobytes(), SIZE, [16] * 4,
                                           5), lambda: cmyk(C4), 1),
    "YCbCr": ("YCbCr", lambda: tiff(C3.tobytes(), SIZE, [8] * 3, 6, {530: [1, 1]}),
              lambda: ycbcr(C3), 1),
    "LAB": ("LAB", lambda: tiff(in_lab().tobytes(), (3, 2), [8] * 3, 8), lambda: lab(in_lab()), 3),
    "I;16, png": ("I;16", lambda: saved(Image.fromarray(V16), "PNG"), sixteen_bit_png, 0),
    "I;16, tiff": ("I;16", lambda: tiff(V16.tobytes(), SIZE, [16], 1),
                   lambda: grey(np.rint(V16 / 257.0)), 0),
    "I, pgm to 65535": ("I", lambda: b"P5 6 4 65535\n" + V16.astype(">u2").tobytes(),
                        lambda: grey(np.rint(V16 / 257.0)), 0),
    "I, pgm to 1023": ("I", lambda: b"P5 6 4 1023\n" + (V16 // 64).astype(">u2").tobytes(),
                       lambda: grey(np.rint(V16 // 64 * (255 / 1023))), 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLE)
def test_pixels_are_what_the_file_says(kind: str) -> None:
    mode, file, expected, tolerance = TABLE[kind]
    data, wanted = file(), expected().astype(int)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == mode  # or the table would be about something else
    found = decode(data)
    assert found.shape == wanted.shape
    assert size(data) == found.shape[:2]
    assert abs(found.astype(int) - wanted).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_tiff_alone(orientation: int) -> None:
    """Rows and columns as TIFF 6.0 numbers the eight; of JPEG and PNG nobody asks."""
    turns: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a[::-1].transpose(1, 0, 2),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a[:, ::-1].transpose(1, 0, 2),
    }
    data = tiff(C3.tobytes(), SIZE, [8] * 3, 2, {274: [orientation]})
    assert np.array_equal(decode(data), turns[orientation](C3))
    assert size(data) == decode(data).shape[:2]
    exif = Image.Exif()
    exif[274] = orientation
    assert np.array_equal(decode(saved(Image.fromarray(C3), "PNG", exif=exif)), C3)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_taken(form: str) -> None:
    frames = [Image.fromarray(np.full((4, 6, 3), value, np.uint8)) for value in (200, 10, 90)]
    more = {"lossless": True} if form == "WEBP" else {}
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], **more)
    assert (decode(data) == 200).all()


def twelve_bits() -> bytes:
    numbers = "".join(f"{value:012b}" for value in [0, 4095, 2048, 100, 7, 4000] * 4)
    return int(numbers, 2).to_bytes(len(numbers) // 8, "big")


REFUSED = {
    "integers of 0 … 255": (tiff(V8.astype(np.int32).tobytes(), SIZE, [32], 1, {339: [2]}),
                            "signed pixels have no fixed range"),
    "unsigned of 32 bits": (tiff(V8.astype(np.uint32).tobytes(), SIZE, [32], 1),
                            "32-bit integer pixels have no fixed range"),
    "signed of 16 bits": (tiff(V16.tobytes(), SIZE, [16], 1, {339: [2]}),
                          "signed pixels have no fixed range"),
    "signed of 8 bits": (tiff(V8.tobytes(), SIZE, [8], 1, {339: [2]}),
                         "signed pixels have no fixed range"),
    "floats": (tiff(V8.astype(np.float32).tobytes(), SIZE, [32], 1, {339: [3]}),
               "floating-point pixels have no fixed range"),
    "floats, pfm": (b"Pf 6 4\n-1.0\n" + V8.astype("<f4").tobytes(),
                    "floating-point pixels have no fixed range"),
    "12 bits": (tiff(twelve_bits(), SIZE, [12], 1),
                "greyscale of 12 bits a pixel is not scaled by Pillow"),
    "16 bits, white is 0": (tiff(V16.tobytes(), SIZE, [16], 0),
                            "16-bit greyscale in which 0 is white is not inverted by Pillow"),
    "La": (tiff(C4[..., 2:].tobytes(), SIZE, [8, 8], 1, {338: [1]}),
           "Pillow has no conversion from its mode La to RGB"),
    "floats of three channels": (tiff(C3.astype(np.float32).tobytes(), SIZE, [32] * 3, 2,
                                      {339: [3] * 3}),
                                 "not an image that Pillow can read: a TIFF of an unusual kind"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_numbers_without_a_range_are_refused(kind: str) -> None:
    data, message = REFUSED[kind]
    with pytest.raises(Unfit) as caught:
        decode(data)
    assert str(caught.value) == message
    assert "8 bits a channel" in caught.value.hint


# Modes that no file of a kind we read is opened in: how they come out, from the pixels.
NO_FILE: dict[str, Callable[[], tuple[Image.Image, Pixels | None]]] = {
    "RGBX": lambda: (Image.frombytes("RGBX", SIZE, C4.tobytes()), C4[..., :3]),
    "RGBa": lambda: (Image.frombytes("RGBa", SIZE, C4.tobytes()), associated()),
    "HSV": lambda: (Image.frombytes("HSV", SIZE, C3.tobytes()), hsv(C3)),
    "I;16L": lambda: (Image.frombytes("I;16L", SIZE, V16.tobytes()), None),
    "I;16B": lambda: (Image.frombytes("I;16B", SIZE, V16.tobytes()), None),
    "I;16N": lambda: (Image.frombytes("I;16N", SIZE, V16.tobytes()), None),
}


def hsv(values: Pixels) -> Pixels:
    flat = [colorsys.hsv_to_rgb(*(v / 255 for v in pixel)) for pixel in values.reshape(-1, 3)]
    return np.rint(np.array(flat) * 255).astype(np.uint8).reshape(values.shape)


@pytest.mark.parametrize("mode", NO_FILE)
def test_modes_without_a_file(mode: str) -> None:
    image, expected = NO_FILE[mode]()
    if expected is None:  # of no known format, so without a known range
        with pytest.raises(Unfit, match="no fixed range"):
            _rgb(image)
    else:
        found = np.asarray(_rgb(image)).astype(int)
        assert abs(found - expected.astype(int)).max() <= 3


def test_every_mode_of_pillow_is_in_a_table() -> None:
    refused = {"F", "La"}  # by REFUSED
    known = {mode for mode, *_ in TABLE.values()} | NO_FILE.keys() | refused
    names = ("1", "L", "I", "F", "P", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")
    more = ("RGBa", "LA", "La", "PA", "I;16", "I;16L", "I;16B", "I;16N")
    assert {*names, *more, *Image.MODES} <= known


@pytest.mark.parametrize("mode", NO_FILE)
def test_a_large_image_has_the_pixels_of_a_small_one(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is converted in strips, to take less memory."""
    image, expected = NO_FILE[mode]()
    if expected is None:
        pytest.skip("it is refused")
    whole = np.asarray(_rgb(image))
    monkeypatch.setattr("ablate.data.decode._WHOLE", 2 * image.width)
    np.testing.assert_array_equal(_in_strips(NO_FILE[mode]()[0]), whole)


@pytest.mark.parametrize("case", TABLE)
def test_a_large_file_has_the_pixels_of_a_small_one(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = TABLE[case][1]()
    whole = decode(data)
    monkeypatch.setattr("ablate.data.decode._WHOLE", 7)
    np.testing.assert_array_equal(decode(data), whole)
