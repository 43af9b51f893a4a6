"""What is advised about a file that cannot be used: by what is wrong with it, not by where."""

from __future__ import annotations

import errno
import io
import os
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from ablate.data import decode
from ablate.data.cache import ensure_cache
from ablate.data.sources import base
from ablate.data.sources.cifar import RecordSource
from ablate.data.sources.folder import FolderSource
from ablate.data.sources.tar import TarSource
from ablate.data.sources.tgz import ArchiveSource
from ablate.errors import AblateError, DataError
from tests.helpers.data_samples import write_images
from tests.helpers.tiff import tiff

WHOLE = "replace it with a whole copy"
EIGHT = "save it with 8 bits a channel"


def megapixels() -> bytes:
    """A whole PNG of 20,000 by 10,000."""
    rows = zlib.compress(bytes(10_000 * (1 + 20_000 // 8)), 1)
    chunks = (b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 1, 0, 0, 0, 0)), (b"IDAT", rows)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*chunks, (b"IEND", b""))
    )


def cut_off() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(27 * 30, dtype=np.uint8).reshape(27, 30)).save(buffer, "PNG")
    return buffer.getvalue()[:-40]


FILES = {
    "floats": (tiff(bytes(24), (3, 2), [32], 1, {339: [3]}), EIGHT),
    "integers": (tiff(bytes(24), (3, 2), [32], 1), EIGHT),
    "large": (megapixels(), "save a smaller copy"),
    "premultiplied": (tiff(bytes(12), (3, 2), [8, 8], 1, {338: [1]}), "save it as RGB"),
    "an odd tiff": (tiff(bytes(72), (3, 2), [32] * 3, 2, {339: [3] * 3}), "save it as RGB"),
    "text": (b"<html>404</html>", "replace it with an image, or remove it"),
    "empty": (b"", WHOLE),
    "cut off": (cut_off(), WHOLE),
}


@pytest.mark.parametrize("kind", FILES)
def test_advice_fits_the_file(kind: str, image_folder: Path) -> None:
    content, advice = FILES[kind]
    file = image_folder / "train" / "bee" / "bee_0.JPEG"
    file.write_bytes(content)
    with pytest.raises(DataError, match=str(file)) as caught:
        ensure_cache(f"imagefolder:{image_folder}", None, 32)
    assert (caught.value.hint or "").startswith(advice)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "make it readable"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), "put it back"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "too many files are open"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), WHOLE),
        (MemoryError(), "it takes more memory than is free"),
        (ValueError("Decompressed data too large"), "if other programs open it"),
        (SyntaxError("broken PNG file"), WHOLE),
    ],
)
def test_advice_fits_the_error(error: Exception, advice: str, image_folder: Path) -> None:
    source = FolderSource("imagefolder:x", image_folder)
    assert (source.damaged(0, error).hint or "").startswith(advice)


ARCHIVES = {
    "tgz": lambda path: ArchiveSource("imagewoof", path).classes,
    "tar": lambda path: TarSource("places365", path).classes,
    "cifar": lambda path: RecordSource("cifar10", path).classes,
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_may_not_be_read_is_not_called_damaged(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "some.tar.gz"
    archive.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="is damaged") as caught:
        ARCHIVES[kind](archive)
    assert caught.value.hint == "remove it and fetch it again"

    def refused(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(archive))

    monkeypatch.setattr(tarfile, "open", refused)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied$") as caught:
        ARCHIVES[kind](archive)
    assert (caught.value.hint or "").startswith("make it readable")


def test_cifar_file_that_may_not_be_read_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps({}))

    def refused(path: Path) -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(base, "open_plain", refused)
    with pytest.raises(DataError, match="data_batch_1 cannot be read: Permission denied") as caught:
        RecordSource("cifar10", folder).classes  # noqa: B018 - read here
    assert (caught.value.hint or "").startswith("make it readable")


def test_weights_that_may_not_be_read_are_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ablate.models import weights

    def refused(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(weights, "open_plain", refused)
    with pytest.raises(AblateError, match=r"cannot be read: Permission denied$") as caught:
        weights.read_state(tmp_path / "teacher.pth")
    assert caught.value.hint == "make it readable for you, or copy it"


def test_cache_that_may_hold_what_is_refused_now_is_built_again(tmp_path: Path) -> None:
    """As an earlier release left it: black images of integers without a range."""
    folder = write_images(tmp_path / "animals", ("ant", "bee"), 3, 2)
    name = f"imagefolder:{folder}"
    grey = np.full((20, 20), 200, np.int32)
    odd = folder / "train" / "ant" / "odd.tif"
    odd.write_bytes(tiff(grey.astype(np.uint16).tobytes(), (20, 20), [16], 1))
    cache = ensure_cache(name, None, 32)
    assert cache.folder is not None
    meta = cache.folder / "meta.json"
    made = meta.stat().st_mtime_ns
    assert ensure_cache(name, None, 32).folder == cache.folder
    assert meta.stat().st_mtime_ns == made  # a cache of today stays
    before = meta.read_text().replace(f'"refusal": {decode.REFUSAL}, ', "")
    meta.write_text(before)
    assert '"refusal"' not in before
    ensure_cache(name, None, 32)
    assert '"refusal"' in meta.read_text()
    # Without a file of that kind nothing is built again.
    odd.unlink()
    plain = ensure_cache(name, None, 32)
    assert plain.folder is not None
    meta = plain.folder / "meta.json"
    meta.write_text(meta.read_text().replace(f'"refusal": {decode.REFUSAL}, ', ""))
    ensure_cache(name, None, 32)
    assert '"refusal"' not in meta.read_text()
