"""Images that are damaged, odd or missing: a line that names the file, or a right training."""

from __future__ import annotations

import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate.data.cache_builder import build
from ablate.data.fingerprint import identify
from ablate.errors import DataError
from tests.helpers.cli_process import run_cli
from tests.helpers.data_samples import write_images
from tests.helpers.fault_table import Proved


@pytest.fixture
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "decoded"))
    return tmp_path / "decoded"


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "animals", ("ant", "bee", "cat"), 6, 3)


def truncate(file: Path) -> str:
    file.write_bytes(file.read_bytes()[:-200])
    return "image file is truncated"


def empty(file: Path) -> str:
    file.write_bytes(b"")
    return "not an image"


def text(file: Path) -> str:
    file.write_text("<html>404</html>")
    return "not an image"


def half_png(file: Path) -> str:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    file.write_bytes(file.read_bytes()[:2000])
    return "image file is truncated"


def bomb(file: Path) -> str:
    """A PNG of some hundred bytes that says it has 4 billion pixels."""
    header = struct.pack(">IIBBBBB", 65000, 65000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return "Image size .* exceeds limit"


def gone(file: Path) -> str:
    file.unlink()
    return "No such file or directory"


def of_floats(file: Path) -> str:
    Image.fromarray(np.ones((5, 5), np.float32)).save(file, "TIFF")
    return "floating-point pixels have no fixed range"


def test_damaged_image_is_named(image_folder: Path, own_caches: Path, proved: Proved) -> None:
    """Found when images are decoded, as `run` does before it trains."""
    place = image_folder / "val" / "bee"
    named = {}
    for i, damage in enumerate(DAMAGES):
        file = place / "bee_2.JPEG"
        before = file.read_bytes()
        identity = identify(f"imagefolder:{image_folder}", image_size=32, root=None)
        if damage is gone:  # between planning and decoding
            reason = damage(file)
        else:
            reason = damage(file)
            identity = identify(f"imagefolder:{image_folder}", image_size=32, root=None)
        with pytest.raises(DataError) as caught:
            build(identity, None)
        name, where = re.escape(f"imagefolder:{image_folder}"), re.escape(str(file))
        verb = "read" if damage is gone else "decoded"
        assert re.match(
            f"{name}: eval image 5, {where}, cannot be {verb}: {reason}", caught.value.message
        )
        assert "\n" not in caught.value.message
        assert caught.value.hint
        assert list(own_caches.glob("*.tmp")) == []
        file.write_bytes(before)
        named[damage] = i
    proved(
        "images",
        "an image that cannot be decoded",
        "cut off, empty, text, half a PNG, 4 billion pixels, floats, removed meanwhile",
        len(named),
        "refused in a line with its path, before training",
    )


DAMAGES = [truncate, empty, text, half_png, bomb, gone, of_floats]


def remove_val(folder: Path) -> str:
    shutil.rmtree(folder / "val")
    return "has no class folders in val/ or test/"


def remove_train(folder: Path) -> str:
    shutil.rmtree(folder / "train")
    return "has no class folders in train/"


def empty_class(folder: Path) -> str:
    for file in (folder / "train" / "bee").iterdir():
        file.unlink()
    return "/train/bee has no images"


def class_only_in_val(folder: Path) -> str:
    (folder / "val" / "dog").mkdir()
    return "has the class val/dog, but no train/dog"


def class_only_in_train(folder: Path) -> str:
    shutil.rmtree(folder / "val" / "cat")
    return "has the class train/cat, but no val/cat"


def remove_all(folder: Path) -> str:
    shutil.rmtree(folder)
    return "there is no folder"


def a_pipe(folder: Path) -> str:
    os.mkfifo(folder / "train" / "ant" / "pipe.png")
    return r"pipe\.png cannot be read: no plain file"


def odd_name(folder: Path) -> str:
    (folder / "train" / "ant" / "a\nb\u202e\x1b[2J.png").symlink_to(folder / "nowhere.png")
    return r"a\\nb\\u202e\\x1b\[2J\.png cannot be read"


def dangling_link(folder: Path) -> str:
    (folder / "train" / "ant" / "gone.png").symlink_to(folder / "nowhere.png")
    return "gone.png cannot be read: No such file"


def one_class(folder: Path) -> str:
    for odd in (f for split in ("train", "val") for f in (folder / split).iterdir()):
        if odd.name != "ant":
            shutil.rmtree(odd)
    return "has one class, ant: nothing to tell apart"


BROKEN = [
    *(remove_val, remove_train, empty_class, class_only_in_val, one_class, a_pipe, odd_name),
    *(class_only_in_train, remove_all, dangling_link),
]


def test_broken_layout_is_one_line(tmp_path: Path, own_caches: Path, proved: Proved) -> None:
    for i, damage in enumerate(BROKEN):
        folder = write_images(tmp_path / f"animals{i}", ("ant", "bee", "cat"), 3, 3)
        expected = damage(folder)
        with pytest.raises(DataError, match=expected) as caught:
            identify(f"imagefolder:{folder}", image_size=32, root=None)
        assert caught.value.message.isprintable(), caught.value.message
    proved(
        "images",
        "a folder that is no data set",
        "no train or val, an empty class, one class, classes that differ, a dangling link, a pipe, "
        "control characters in a name",
        len(BROKEN),
        "refused in a line with the place",
    )


STUDY = """\
[study]
datasets = ["imagefolder:{folder}"]
seeds    = 1
stack    = ["warmup"]

[recipe]
model      = "resnet8"
epochs     = 2
batch_size = 8
image_size = 8
eval_resize = 9
"""


def odd_images(folder: Path) -> int:
    """Images of every odd kind beside plain ones, and what is none at all; how many kinds."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (30, 20, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [image.rotate(90 * i) for i in range(3)]
    place = folder / "train" / "ant"
    image.convert("1").save(place / "bilevel.png")
    image.convert("CMYK").save(place / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 65536, (9, 9), dtype=np.uint16)).save(place / "deep.png")
    frames[0].save(place / "moving.webp", save_all=True, append_images=frames[1:])
    image.save(place / "turned.jpg", exif=exif)
    image.convert("RGBA").save(place / "alpha.png")
    image.quantize(8).save(place / "palette.png", transparency=bytes(range(8)))
    image.resize((1, 1)).save(place / "dot.png")
    image.resize((2000, 1)).save(place / "line.png")
    image.save(place / "a b%c#d'e\u202e\n.png")
    (place / "folder.jpg").mkdir()
    (place / ".hidden.jpg").write_text("not an image")
    (place / "notes.txt").write_text("not an image")
    return 13


def test_odd_images_train(tmp_path: Path, proved: Proved) -> None:
    folder = write_images(tmp_path / "animals", ("ant", "bee"), 12, 4)
    kinds = odd_images(folder)
    (tmp_path / "study.toml").write_text(STUDY.format(folder=folder))
    env = {"ABLATE_CACHE": str(tmp_path / "decoded")}
    assert run_cli("plan", "study.toml", cwd=tmp_path, env=env).returncode == 0
    done = run_cli("run", "study.toml", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder)  # between decoding and training
    done = run_cli("report", "animals" if False else "study", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    proved(
        "images",
        "odd images",
        "1 bit, 16 bits, CMYK, moving, turned, 1 × 1, 2,000 × 1, odd names, folders called x.jpg",
        kinds,
        "nothing: they train",
    )
