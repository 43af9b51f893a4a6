"""Which files of a data set are images, by their names, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ablate.util.text import count

# torchvision's ImageFolder takes the same files as images and leaves out all others.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
HIDDEN, UNSORTED = "hidden", "unsorted"  # kinds of `LeftOut` beside endings
TO_READ = "read are " + " ".join(EXTENSIONS)

# What file managers and servers put beside images, thumbnails among it.
_SYSTEMS = frozenset(
    (
        *("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)
# Of these nobody thinks that they are images.
_BESIDE = frozenset(
    (
        *(".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html"),
        *(".pdf", ".py", ".ipynb", ".log", ".lst", ".db", ".ini", ".sh"),
    )
)
_NAMED = 4  # endings in a message

# (folder below the data set, ending or one of the kinds above, number of files), sorted
LeftOut = tuple[tuple[str, str, int], ...]


def is_image(name: str) -> bool:
    """Whether a file of this name is taken as an image; hidden files never are."""
    return name.lower().endswith(EXTENSIONS) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name, with all in it, is nobody's data."""
    return name.startswith(".") or name.lower() in _SYSTEMS


def of_macos(top: str) -> bool:
    """Whether the first folder of a path in an archive is the one with what macOS adds."""
    return top.lower() == "__macosx"


class Sorting:
    """Sorts an archive's files: images by their path, all others counted."""

    def __init__(self) -> None:
        self._others: Counter[tuple[str, str]] = Counter()

    def other(self, folder: str, name: str) -> None:
        """A file of no image's name in `folder`, "train/ant"."""
        self._others[folder, PurePosixPath(name.lower()).suffix] += 1

    def hidden(self, folder: str, names: Iterable[str]) -> None:
        """Files in a hidden folder, of which images are counted."""
        self._add(folder, HIDDEN, names)

    def unsorted(self, folder: str, names: Iterable[str]) -> None:
        """Files beside the class folders, of which images are counted."""
        self._add(folder, UNSORTED, names)

    def _add(self, folder: str, kind: str, names: Iterable[str]) -> None:
        if images := sum(map(is_image, names)):
            self._others[folder, kind] += images

    def takes(self, path: str) -> bool:
        """Whether "train/ant/…/x.png" is an image; noted if it is none."""
        split, *folders, name = path.split("/")
        if not folders:
            self.unsorted(split, [name])
            return False
        place = f"{split}/{folders[0]}"
        if is_hidden(name) or is_hidden(folders[0]):
            return False
        if any(map(is_hidden, folders)):
            self.hidden(place, [name])
            return False
        if not is_image(name):
            self.other(place, name)
            return False
        return True

    @property
    def left_out(self) -> LeftOut:
        """What was noted."""
        return tuple(sorted((*where, number) for where, number in self._others.items()))


def notes(name: str, left_out: LeftOut) -> tuple[str, ...]:
    """What a person should know who thinks that all of these files are trained on."""
    kinds = _by_kind(left_out)
    found = []
    others = {k: n for k, n in kinds.items() if k not in (HIDDEN, UNSORTED) and k not in _BESIDE}
    if others:
        are = "is" if sum(others.values()) == 1 else "are"
        found.append(f"{name}: {in_words(others)} {are} left out; {TO_READ}")
    if images := kinds[HIDDEN]:
        found.append(f"{name}: {count(images, 'image')} in hidden folders left out")
    if images := kinds[UNSORTED]:
        found.append(f"{name}: {count(images, 'image')} left out, in no class folder")
    return tuple(found)


def kinds_in_words(left_out: LeftOut) -> str:
    """ "9 .gif and 2 .txt, 1 image in hidden folders"; "" for nothing."""
    kinds = _by_kind(left_out)
    hidden, unsorted = kinds.pop(HIDDEN, 0), kinds.pop(UNSORTED, 0)
    parts = [in_words(kinds)] if kinds else []
    parts += [f"{count(hidden, 'image')} in hidden folders"] if hidden else []
    parts += [f"{count(unsorted, 'image')} in no class folder"] if unsorted else []
    return ", ".join(parts)


def _by_kind(left_out: LeftOut) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for _, kind, number in left_out:
        kinds[kind] += number
    return kinds


def in_words(kinds: Mapping[str, int]) -> str:
    """ "9 .gif, 3 .jfif and 1 file without an ending"."""
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    parts = [
        f"{number:,} {ending}" if ending else f"{count(number, 'file')} without an ending"
        for ending, number in ranked[:_NAMED]
    ]
    if more := sum(number for _, number in ranked[_NAMED:]):
        parts.append(f"{more:,} others" if more > 1 else "1 other")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def no_images(folder: str, left_out: LeftOut) -> tuple[str, str | None]:
    """What to say of a class folder, "train/ant", without an image, and what to do."""
    here = {kind: number for place, kind, number in left_out if place == folder}
    hidden = here.pop(HIDDEN, 0)
    if here:
        return (
            f"has no images that are read, only {in_words(here)}",
            f"{TO_READ}: save them as such",
        )
    if hidden:
        return f"has no images but {hidden:,} in hidden folders", "move them out of there"
    return "has no images", None
