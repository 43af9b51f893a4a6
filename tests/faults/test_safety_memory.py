"""Files of some kilobytes that say that they are gigabytes, or unpack to them: what they may take,
as the kernel counts it, in processes that could not get more."""

from __future__ import annotations

import os
import pickle
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.data.sources.base import Room, in_threads
from ablate.data.sources.cifar import as_binary
from ablate.data.sources.matlab import check_mat
from ablate.data.sources.tar import members
from ablate.errors import DataError
from ablate.util import tensor_files
from tests.helpers import bombs
from tests.helpers.cli_process import ABLATE
from tests.helpers.data_samples import write_images
from tests.helpers.measured import Measured, measured, measured_code
from tests.helpers.misbehaving import Server, serving

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

MIB = 1 << 20
LIMIT = 5 << 30  # bytes of addresses: no fault takes more of this machine

READ_CIFAR = """
import sys
from ablate.data.sources.cifar import as_binary
try:
    as_binary(open(sys.argv[1], "rb").read(), 1)
except ValueError as error:
    print("refused:", error)
"""
DECODE = """
import sys
from pathlib import Path
from ablate.data.cache_builder import build
from ablate.data.fingerprint import identify
from ablate.errors import AblateError
try:
    build(identify(sys.argv[1], image_size=32, root=Path(sys.argv[2])), None)
    print("decoded")
except AblateError as error:
    print("refused:", error.message)
"""
WEIGHTS = """
import sys, torch, warnings
warnings.simplefilter("ignore")  # of sparse tensors
from pathlib import Path
from ablate.engine import checkpoint
from ablate.errors import AblateError
from ablate.models.weights import read_state
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
before = peak()
for file in sys.argv[1:]:
    for read in read_state, checkpoint.read:
        try:
            print("loaded:", list(read(Path(file))))
        except (AblateError, ValueError) as error:
            print("refused:", error)
print("took", peak() - before)
"""


def decoded(name: str, root: Path, tmp_path: Path, limit: int = LIMIT) -> Measured:
    cache = {"ABLATE_CACHE": str(tmp_path / "decoded")}
    return measured_code(DECODE, name, root, cwd=tmp_path, limit=limit, env=cache)


def test_a_process_that_takes_memory_is_noticed(tmp_path: Path) -> None:
    """The measure itself: what is taken is seen, and more than the limit is not given."""
    taken = measured_code("b = b'x' * (300 << 20)", cwd=tmp_path, limit=1 << 30)
    assert taken.returncode == 0
    assert 300 * MIB < taken.peak < 400 * MIB
    assert measured_code("b = b'x' * (2 << 30)", cwd=tmp_path, limit=1 << 30).returncode == 1


def test_pickles_of_some_bytes(tmp_path: Path, proved: Proved) -> None:
    largest = 0
    for kind, make in bombs.PICKLES.items():
        (tmp_path / "batch").write_bytes(make())
        assert (tmp_path / "batch").stat().st_size < 10_000, kind
        done = measured_code(READ_CIFAR, tmp_path / "batch", cwd=tmp_path, limit=LIMIT)
        assert done.returncode == 0, (kind, done.text)
        assert done.text.startswith("refused: "), (kind, done.text)
        assert done.text.count("\n") == 1, kind
        assert done.peak < 100 * MIB, (kind, done.peak)
        largest = max(largest, done.peak)
    proved(
        "safety", "a pickle of some bytes that makes room for gigabytes",
        "calls, places, lengths, lists in lists, in CIFAR's form; the peak as the kernel counts it",
        len(bombs.PICKLES), "nothing: one line, at most 100 MiB with Python and NumPy in it",
    )  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_pickles_of_every_protocol_are_read(protocol: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    for data in (pixels, np.asfortranarray(pixels)):
        found = as_binary(pickle.dumps({"data": data, "labels": [7, 0, 255]}, protocol), 1)
        records = np.frombuffer(found, np.uint8).reshape(3, 3073)
        np.testing.assert_array_equal(records[:, 1:], pixels)
        assert records[:, 0].tolist() == [7, 0, 255]
    wide = np.array([[3, 2, 1]], dtype=">i8").repeat(1024, axis=1)
    found = as_binary(pickle.dumps({"data": wide, "labels": np.array([1])}, protocol), 1)
    assert found[1:4] == b"\3\3\3"


def test_archives_that_unpack_to_gigabytes(tmp_path: Path, proved: Proved) -> None:
    for kind, make in bombs.ARCHIVES.items():
        archive = tmp_path / f"{bombs.TOP}.tgz"
        archive.write_bytes(make())
        assert archive.stat().st_size < 15_000_000, kind
        done = decoded("imagewoof", tmp_path, tmp_path)
        assert done.returncode == 0, (kind, done.text)
        assert done.text.startswith("refused: "), (kind, done.text)
        assert "imagewoof2-160.tgz is damaged: " in done.text, (kind, done.text)
        assert done.text.count("\n") == 1, kind
        assert done.peak < 400 * MIB, (kind, done.peak)
    proved(
        "safety", "an archive that unpacks to gigabytes, or whose headers do",
        "names, headers, one file, many files, holes, sizes below zero; where it lies",
        len(bombs.ARCHIVES), "nothing: one line, at most 400 MiB",
    )  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_a_mirror_that_sends_such_archives(tmp_path: Path, server: Server, proved: Proved) -> None:
    for kind, make in bombs.ARCHIVES.items():
        server.files[f"{bombs.TOP}.tgz"] = make()
        done = measured(
            *(*ABLATE, "datasets", "fetch", "imagewoof", "--size", "160"),
            *("--from", server.url, "--data", tmp_path / "root"),
            cwd=tmp_path, limit=LIMIT,
        )  # fmt: skip
        assert done.returncode == 2, (kind, done.text)
        assert "is not imagewoof: " in done.text, (kind, done.text)
        assert "Traceback" not in done.text, (kind, done.text)
        assert done.peak < 400 * MIB, (kind, done.peak)
        assert [p for p in (tmp_path / "root").iterdir() if not p.name.startswith(".")] == [], kind
    proved(
        "safety", "a mirror that sends an archive which unpacks to gigabytes",
        "the same archives, by `ablate datasets fetch --from`", len(bombs.ARCHIVES),
        "nothing: one line, at most 400 MiB, nothing is left",
    )  # fmt: skip


def test_archives_in_an_archive_end_where_they_end(tmp_path: Path) -> None:
    """Else each would have all that come after it: a square of what there is."""
    inner = bombs.file("a.JPEG", b"a")
    many = b"".join(bombs.file(f"n{i:08}.tar", inner) for i in range(300))
    (tmp_path / "train.tar").write_bytes(many + bytes(1024))
    found = [
        member.name
        for one in members(tmp_path / "train.tar")
        for member in members(tmp_path / "train.tar", one)
    ]
    assert found == ["a.JPEG"] * 300
    (tmp_path / "short.tar").write_bytes(bombs.header("x.tar", 1 << 40) + inner)
    with pytest.raises(DataError, match="unexpected end"):
        list(members(tmp_path / "short.tar"))


def test_images_that_are_larger_than_their_files(
    tmp_path: Path, proved: Proved, long: bool
) -> None:
    zeros = zlib.compress(bytes(300 * MIB), 9)
    texts = (b"zTXt", b"k\0\0" + zeros), (b"iCCP", b"k\0\0" + zeros)
    cases = {
        "16 bits": (bombs.png((9_000, 9_000), 16), "decoded", 900),
        "too many pixels": (bombs.png((65_000, 1))[:16] + b"\0\0\xfd\xe8\0\0\xfd\xe8", "", 200),
        "a hole": (b"", "it has 8,589,934,592 bytes, more than 536,870,912", 200),
        "texts": (bombs.png((9, 9), 8, texts), "", 200),
    }
    for kind, (data, told, most) in cases.items():
        folder = write_images(tmp_path / kind, ("ant", "bee"), 1, 1)
        odd = folder / "train" / "ant" / "odd.png"
        odd.write_bytes(data)
        if kind == "a hole":
            os.truncate(odd, 8 << 30)
        done = decoded(f"imagefolder:{folder}", tmp_path, tmp_path)
        assert done.returncode == 0, (kind, done.text)
        assert done.text.startswith(told if told == "decoded" else "refused: "), (kind, done.text)
        assert told in done.text, (kind, done.text)
        assert done.text.count("\n") == 1, kind
        assert done.peak < most * MIB, (kind, done.peak)
    if long:
        folder = tmp_path / "many"
        for split in ("train", "val"):
            for name in ("ant", "bee"):
                (folder / split / name).mkdir(parents=True)
                for number in range(3):
                    (folder / split / name / f"{number}.png").write_bytes(bombs.png((13_000,) * 2))
        done = decoded(f"imagefolder:{folder}", tmp_path, tmp_path, 16 << 30)  # 6 are mapped
        assert done.text == "decoded\n"
        assert done.peak < 3 << 30, done.peak
    proved(
        "safety", "images that are larger than their files",
        "16 bits, 4 billion pixels, a hole of 8 GiB, texts of 300 MiB" + (", 12 of 169 MP" * long),
        len(cases) + long, "nothing: decoded within 900 MiB, or refused in a line",
    )  # fmt: skip


def test_room_for_images_under_way() -> None:
    """What is under way takes at most the limit and the one that is waited for."""
    room = Room(100)
    largest = 0

    def take(index: int, read: object) -> int:
        nonlocal largest
        room.hold(index, 70 if index % 3 else 250)
        largest = max(largest, room._sum)
        return index

    reads = ((i, lambda: b"") for i in range(60))
    assert list(in_threads(take, reads, [10] * 60, room)) == list(range(60))
    assert room._sum == 0
    assert largest <= 100 + 250


def test_room_is_given_up_where_decoding_fails() -> None:
    """Threads that wait do not wait for ever."""
    room = Room(100)

    def take(index: int, read: object) -> int:
        if index == 0:
            threading.Event().wait(0.1)
            raise ValueError("damaged")
        room.hold(index, 90)
        return index

    with pytest.raises(ValueError, match="damaged"):
        list(in_threads(take, ((i, lambda: b"") for i in range(9)), [1] * 9, room))


def test_other_languages_named_as_images_are_refused(tmp_path: Path) -> None:
    """PostScript would be handed to a program, which runs it."""
    folder = write_images(tmp_path / "animals", ("ant", "bee"), 1, 1)
    odd = folder / "train" / "ant" / "odd.png"
    Image.new("RGB", (9, 9)).save(odd, "EPS")
    done = decoded(f"imagefolder:{folder}", tmp_path, tmp_path)
    assert "odd.png, cannot be decoded: not an image" in done.text


def test_weights_that_are_larger_than_their_files(tmp_path: Path, proved: Proved) -> None:
    torch.save({"weight": torch.zeros(4)}, tmp_path / "sound.pt")
    call = b"\x80\x02c%s\nJ" + struct.pack("<i", 2_000_000_000) + b"\x85R."
    wrapped: dict[str, object] = {}
    wrapped["state_dict"] = wrapped
    torch.save({"weight": torch.zeros(40_000_000)}, tmp_path / "large.pt")
    bombs.exchanged(tmp_path / "large.pt", tmp_path / "packed.pt", None, zipfile.ZIP_DEFLATED)
    (tmp_path / "large.pt").unlink()
    plain = zipfile.ZIP_STORED
    for name in ("builtins\nbytearray", "__builtin__\nbytearray", "torch\nTensor"):
        file = tmp_path / f"{name.replace(chr(10), '-')}.pt"
        bombs.exchanged(tmp_path / "sound.pt", file, call % name.encode(), plain)
    memo = b"\x80\x02cbuiltins\nbytearray\nq\0X\x01\0\0\0ah\0J\0\0\0\x70\x85R."
    bombs.exchanged(tmp_path / "sound.pt", tmp_path / "memo.pt", memo, plain)
    torch.save(wrapped, tmp_path / "wrapped.pt")
    torch.save({"weight": torch.empty(9, device="meta")}, tmp_path / "meta.pt")
    one = torch.tensor([[0]]), torch.tensor([1.0])
    odd = torch.sparse_coo_tensor(*one, (10**12,), check_invariants=True)
    torch.save({"weight": odd}, tmp_path / "sparse.pt")
    (tmp_path / "sound.pt").unlink()
    files = sorted(tmp_path.glob("*.pt"))
    assert all(file.stat().st_size < 1_000_000 for file in files)
    done = measured_code(WEIGHTS, *files, cwd=tmp_path, limit=20 << 30)  # torch's own, mostly
    assert done.returncode == 0, done.text
    *said, took = done.text.splitlines()
    assert len(said) == 2 * len(files), done.text
    assert all(line.startswith("refused: ") for line in said[::2]), done.text
    assert int(took.removeprefix("took ")) < 100 * MIB, done.text
    proved(
        "safety", "weights and checkpoints that are larger than their files",
        "compressed, calls with a size, dicts in themselves, tensors without numbers", len(files),
        "nothing: one line, less than 100 MiB",
    )  # fmt: skip


def test_bytearrays_of_text_are_read(tmp_path: Path) -> None:
    """As a trick's state may hold; each but the first by its place in the memo."""
    state = {"a": bytearray(b"abc"), "b": bytearray(), "c": bytearray(b"\xff\0"), "d": 5}
    for old in (False, True):
        torch.save(state, tmp_path / "state.pt", _use_new_zipfile_serialization=not old)
        with (tmp_path / "state.pt").open("rb") as file:
            tensor_files.check_file(file)
        assert torch.load(tmp_path / "state.pt", weights_only=True) == state


def test_matlab_files_that_claim_more_than_they_hold(tmp_path: Path) -> None:
    from scipy.io import savemat

    rows = np.array([(1, "n1", 0.5)], dtype=[("id", "i4"), ("wnid", "O"), ("x", "f8")])
    document = {"synsets": rows, "cells": np.array([[1, "two"]], dtype=object), "text": "abc"}
    for compress in (False, True):
        savemat(tmp_path / "sound.mat", document, do_compression=compress)
        check_mat((tmp_path / "sound.mat").read_bytes())
    savemat(tmp_path / "sound.mat", {"synsets": np.zeros((77, 1), dtype=object)})
    data = (tmp_path / "sound.mat").read_bytes()
    assert data.count(struct.pack("<ii", 77, 1)) == 1
    claimed = data.replace(struct.pack("<ii", 77, 1), struct.pack("<ii", 1 << 30, 1))
    with pytest.raises(ValueError, match="and not its elements"):
        check_mat(claimed)
    savemat(tmp_path / "bomb.mat", {"a": np.zeros(40 << 20, np.uint8)}, do_compression=True)
    with pytest.raises(ValueError, match="it unpacks to more than"):
        check_mat((tmp_path / "bomb.mat").read_bytes())
