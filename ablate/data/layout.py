"""The usual layout of labelled image files, `train/CLASS/…` and `val/CLASS/…`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ablate.data.roots import shown
from ablate.data.source import Entry, SplitName
from ablate.errors import DataError

# torchvision's ImageFolder takes the same files as images and leaves out all others.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
EVAL_FOLDERS = ("val", "test")  # the first that exists is the evaluation split


def is_image(name: str) -> bool:
    """Whether a file of this name is taken as an image; hidden files never are."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def layout(
    name: str, location: Path, files: Mapping[str, int], folders: set[str]
) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
    """Classes and entries of `split/class/…` paths; DataError where a split or class is empty."""
    place = shown(location)
    found = {folder.split("/")[0] for folder in folders}
    eval_folder = next((f for f in EVAL_FOLDERS if f in found), None)
    if "train" not in found:
        raise DataError(
            f"{name}: {place} has no class folders in train/", hint="expected train/CLASS/IMAGE"
        )
    if eval_folder is None:
        raise DataError(
            f"{name}: {place} has no class folders in val/ or test/",
            hint="expected val/CLASS/IMAGE, the images to evaluate on",
        )
    classes = tuple(sorted(f.split("/")[1] for f in folders if f.startswith("train/")))
    numbers = {folder: label for label, folder in enumerate(classes)}
    splits: tuple[tuple[SplitName, str], ...] = (("train", "train"), ("eval", eval_folder))
    entries: list[Entry] = []
    for split, top in splits:
        here = sorted(f.split("/")[1] for f in folders if f.startswith(f"{top}/"))
        for odd in sorted(set(here) ^ set(classes)):
            where, other = (top, "train") if odd in here else ("train", top)
            raise DataError(f"{name}: {place} has the class {where}/{odd}, but no {other}/{odd}")
        found_files = sorted(
            (path.split("/", 2)[1], path, size)
            for path, size in files.items()
            if path.startswith(f"{top}/") and path.count("/") > 1
        )
        entries += [Entry(split, numbers[c], path, size) for c, path, size in found_files]
        empty = set(here) - {c for c, _, _ in found_files}
        if empty:
            raise DataError(f"{name}: {place}/{top}/{min(empty)} has no images")
    if len(classes) == 1:
        raise DataError(f"{name}: {place} has one class, {classes[0]}: nothing to tell apart")
    return classes, tuple(entries)
