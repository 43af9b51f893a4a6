"""TIFF files of any kind, written by the specification (TIFF 6.0) and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_SHORT, _LONG = 3, 4


def tiff(
    data: bytes,
    size: tuple[int, int],
    bits: Sequence[int],
    photometric: int,
    tags: dict[int, Sequence[int]] | None = None,
) -> bytes:
    """One uncompressed strip, little-endian.

    size: (width, height). bits: of each channel. photometric: 0 white is zero, 1 black is zero,
    2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 CIELab. tags: further ones, 16-bit numbers each.
    """
    width, height = size
    fields: dict[int, tuple[int, Sequence[int]]] = {
        256: (_SHORT, [width]),
        257: (_SHORT, [height]),
        258: (_SHORT, bits),
        259: (_SHORT, [1]),  # no compression
        262: (_SHORT, [photometric]),
        273: (_LONG, [0]),  # where the strip begins, set below
        277: (_SHORT, [len(bits)]),
        278: (_SHORT, [height]),
        279: (_LONG, [len(data)]),
        **{number: (_SHORT, values) for number, values in (tags or {}).items()},
    }
    outside = 8 + 2 + 12 * len(fields) + 4
    packed = {n: struct.pack(f"<{len(v)}{'HI'[t - _SHORT]}", *v) for n, (t, v) in fields.items()}
    strip = outside + sum(len(value) for value in packed.values() if len(value) > 4)
    packed[273] = struct.pack("<I", strip)
    entries, values = b"", b""
    for number in sorted(fields):
        kind, content = fields[number]
        value = packed[number]
        if len(value) > 4:
            place = struct.pack("<I", outside + len(values))
            values += value
        else:
            place = value.ljust(4, b"\0")
        entries += struct.pack("<HHI", number, kind, len(content)) + place
    head = b"II*\0" + struct.pack("<IH", 8, len(fields))
    return head + entries + struct.pack("<I", 0) + values + data
