"""Files that are small and say, or unpack to, what fills a machine's memory."""

from __future__ import annotations

import gzip
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.data_samples import WOOF

_PIECE = 1 << 26
_ZEROS = gzip.compress(bytes(_PIECE), 9, mtime=0)
TOP = "imagewoof2-160"
_INSIDE = f"{TOP}/train/{WOOF[0]}/x.JPEG"


def gz(*parts: bytes | int) -> bytes:
    """Bytes, and numbers of zeros, as gzip packs them: members one after the other are one file."""
    packed = []
    for part in parts:
        if isinstance(part, bytes):
            packed.append(gzip.compress(part, 9, mtime=0))
        else:
            packed.append(_ZEROS * (part // _PIECE))
            packed.append(gzip.compress(bytes(part % _PIECE), 9, mtime=0))
    return b"".join(packed)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """512 bytes that announce a member."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def file(name: str, data: bytes) -> bytes:
    """A member with its data."""
    return header(name, len(data)) + data + bytes(-len(data) % 512)


def extended(text: bytes, kind: bytes) -> bytes:
    """A pax header."""
    return header("x", len(text), kind) + text + bytes(-len(text) % 512)


def record(name: bytes, value: bytes) -> bytes:
    """A line of a pax header, which begins with its own length."""
    length = len(name) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length, name, value)


_SMALL = b"".join(file(f"{TOP}/{s}/{c}/y.JPEG", b"x") for s in ("train", "val") for c in WOOF)
_END = file(_INSIDE, b"x") + bytes(1024)
_BIG = 3 << 30


def _back() -> bytes:
    """A size below zero, which leads to the header before."""
    made = bytearray(header(_INSIDE, 0))
    made[124:136] = b"\xff" * 10 + b"\xfc\x00"
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a long name": lambda: gz(header("x", _BIG, tarfile.GNUTYPE_LONGNAME), _BIG, _END),
    "a pax header": lambda: gz(header("x", _BIG, tarfile.XHDTYPE), _BIG, _END),
    "pax headers for all": lambda: gz(
        *(
            extended(b"".join(record(b"%d.%d" % (i, j), b"v") for j in range(60_000)), b"g")
            for i in range(20)
        ),
        _END,
    ),
    "headers of headers": lambda: gz(extended(record(b"path", b"y"), b"x") * 5_000, _END),
    "one large file": lambda: gz(_SMALL, header(_INSIDE, _BIG), _BIG, bytes(1024)),
    "many small files": lambda: gz(
        _SMALL,
        *(
            b"".join(header(f"{TOP}/train/{WOOF[0]}/{i}-{j}.JPEG", 0) for j in range(20_000))
            for i in range(12)
        ),
        bytes(1024),
    ),
    "a map of holes": lambda: gz(
        extended(
            record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
            + record(b"GNU.sparse.name", _INSIDE.encode()) + record(b"GNU.sparse.realsize", b"9"),
            b"x",
        ) + header(_INSIDE, _BIG) + b"999999999\n",
        b"0\n" * (40 << 20), bytes(1024),
    ),
    "a size below zero": lambda: gz(_SMALL + _back() + _END),
}  # fmt: skip


class _Calls:
    """Pickled as the call of a function."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> Any:
        return self._call[0], tuple(self._call[1:])


def _lists(depth: int) -> bytes:
    """A list that holds one list twice, which holds one twice, …: 2 to the power of `depth`."""
    made = b"](K\x01K\x02eq\x00"
    for number in range(depth):
        made += b"0](h" + bytes([number]) + b"h" + bytes([number]) + b"eq" + bytes([number + 1])
    return made


def _pixels() -> bytes:
    return pickletools.optimize(pickle.dumps(np.zeros((2, 3072), np.uint8), 2))[2:-1]


def _claimed() -> bytes:
    """An array that says it is larger than its bytes are."""
    made = pickle.dumps({"labels": [0, 0], "data": np.zeros((2, 3072), np.uint8)}, 2)
    return made.replace(b"K\x02M\x00\x0c\x86", b"J\x00\x00\x00\x40M\x00\x0c\x86")


PICKLES: dict[str, Callable[[], bytes]] = {
    "an array that is called": lambda: pickle.dumps(
        {"labels": _Calls(np.ndarray, (1 << 32,), "u1"), "data": 0}, 2
    ),
    "places in the memo": lambda: b"\x80\x02}r" + struct.pack("<L", 1 << 28) + b".",
    "labels in lists in lists": lambda: (
        b"\x80\x02}(U\x06labels" + _lists(28) + b"U\x04data" + _pixels() + b"u."
    ),
    "names in lists in lists": lambda: b"\x80\x02}(U\x0blabel_names]" + _lists(26) + b"au.",
    "a shape without its bytes": _claimed,
    "a length of 4 GiB": lambda: b"\x80\x05\x96" + struct.pack("<Q", 1 << 32) + b".",
    "a frame of 4 GiB": lambda: b"\x80\x04\x95" + struct.pack("<Q", 1 << 32) + b".",
}


def png(
    size: tuple[int, int], bits: int = 1, chunks: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """A black greyscale image, whole."""
    width, height = size
    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    first = (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (first, *chunks, (b"IDAT", packed), (b"IEND", b""))
    )


def exchanged(saved: Path, into: Path, pickled: bytes | None, how: int) -> None:
    """An archive of torch's written again, compressed or not, with another pickle inside."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(into, "w", how) as archive:
        for name, data in members.items():
            exchange = pickled is not None and name.endswith("data.pkl")
            archive.writestr(name, pickled if exchange and pickled is not None else data)
