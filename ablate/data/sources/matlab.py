"""MATLAB files, before SciPy reads them: it makes room for what an array says of its own size."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final

_MOST: Final = 32 << 20  # bytes of all arrays; the publisher's `meta.mat` has under one million
_HEADER: Final = 128
_MATRIX, _COMPRESSED, _DEEPEST = 14, 15, 16
_CELL, _STRUCT, _OBJECT = 1, 2, 3


def check_mat(data: bytes) -> None:
    """Raise ValueError for what is no such file of version 5, or claims more than it holds."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER])
    if order is None:
        raise ValueError("no MATLAB file of version 5")
    left = _MOST
    for kind, body in _parts(data[_HEADER:], order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            arrays = unpacker.decompress(body, left)
            if unpacker.unconsumed_tail:
                raise ValueError(f"it unpacks to more than {_MOST:,} bytes")
            left = max(1, left - len(arrays))
            for inner, array in _parts(arrays, order):
                _check(inner, array, order, 0)
        else:
            _check(kind, body, order, 0)


def _check(kind: int, body: bytes, order: str, depth: int) -> None:
    """An array and those in it: each has a byte for each of its elements."""
    if depth > _DEEPEST:
        raise ValueError("arrays in arrays without end")
    if kind != _MATRIX or not body:
        return
    parts = list(_parts(body, order))
    if len(parts) < 3 or len(parts[0][1]) < 4:
        raise ValueError("an array without a shape")
    form = struct.unpack_from(f"{order}I", parts[0][1])[0] & 0xFF
    numbers = parts[1][1]
    shape = struct.unpack_from(f"{order}{len(numbers) // 4}i", numbers)
    if any(n < 0 for n in shape) or len(shape) > 8 or math.prod(shape) > len(body):
        raise ValueError(f"an array of shape {list(shape)[:8]}, and not its elements")
    if form in (_CELL, _STRUCT, _OBJECT):
        for inner, array in parts:
            _check(inner, array, order, depth + 1)


def _parts(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, bytes) of every element, one after the other."""
    place = 0
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # a small one, with its length and up to four bytes in the same place
            yield kind & 0xFFFF, data[place + 4 : place + 4 + min(kind >> 16, 4)]
            place += 8
            continue
        if length > len(data) - place - 8:
            raise ValueError("an element that is longer than what holds it")
        yield kind, data[place + 8 : place + 8 + length]
        # within arrays elements begin at every eighth byte; compressed ones follow at once
        place += 8 + (length if kind == _COMPRESSED else -(-length // 8) * 8)
