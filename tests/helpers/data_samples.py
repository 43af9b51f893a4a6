"""Small image folders and archives in the layouts that the data sets come in."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

WOOF = (
    *("n02086240", "n02087394", "n02088364", "n02089973", "n02093754"),
    *("n02096294", "n02099601", "n02105641", "n02111889", "n02115641"),
)


def write_images(
    folder: Path, classes: tuple[str, ...], train: int, test: int, seed: int = 0
) -> Path:
    """train/ and val/ with so many JPEGs a class, of sizes from 18 × 21 up."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", test)):
        for label, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                h, w = 18 + (number * 5 + label) % 9, 21 + (number * 3) % 8
                coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)
                image.save(place / f"{name}_{number}.JPEG", quality=90)
    return folder


def copy_few(root: Path, layout: str, made: Path, train: int, test: int) -> Path:
    """A data root with the first files of every class: decoding all of them takes a gigabyte."""
    for split, count in (("train", train), ("val", test)):
        for folder in sorted((root / layout / split).iterdir()):
            there = made / layout / split / folder.name
            there.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, there)
    return made


def pack(folder: Path, archive: Path) -> Path:
    """The folder as the .tgz that fast.ai would publish."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return archive
