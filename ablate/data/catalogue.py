"""The data sets that a study can name, and how to find their files. No torch here."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.data.builtin import CATALOGUE
from ablate.data.builtin import DatasetInfo as DatasetInfo
from ablate.data.builtin import Edition as Edition
from ablate.errors import AblateError, DataError, brief, did_you_mean
from ablate.util import own_code, paths
from ablate.util.paths import shown

if TYPE_CHECKING:
    from ablate.data.arrays import ImageArrays
    from ablate.data.sources.base import Source


def dataset_names() -> list[str]:
    """Every catalogue name, smallest data set first."""
    return list(CATALOGUE)


def dataset_info(name: str) -> DatasetInfo:
    """What is known of `name`: a catalogue name, "imagefolder:PATH" or "package.module:function".

    Raises AblateError for an unknown name, DataError for a folder that is not there or is not laid
    out as train/CLASS/IMAGE.
    """
    check_name(name)
    if name in CATALOGUE:
        return CATALOGUE[name]
    if name.startswith("imagefolder:"):
        source = find_source(name, image_size=0, root=None)[1]
        return DatasetInfo(
            name=name,
            description=f"images in {shown(source.location)}",
            num_classes=len(source.classes),
            image_size=224,
            classes=source.classes,
            folders=source.classes,
            counts=(source.count("train"), source.count("eval")),
        )
    return load_arrays(name).info(name)


def check_name(name: str) -> None:
    """Raise AblateError unless `name` is in the catalogue or has the form of one's own data."""
    folder = name.startswith("imagefolder:") and name != "imagefolder:"
    if name in CATALOGUE or folder or own_code.is_function(name):
        return
    known = [*CATALOGUE, "imagefolder:PATH"]
    hint = "or package.module:function for your own"
    raise AblateError(f"unknown data set '{name}'{did_you_mean(name, known)}", hint=hint)


def in_memory(name: str) -> bool:
    """Whether the data set comes from Python, not from image files."""
    return name == "digits" or (":" in name and not name.startswith("imagefolder:"))


def load_arrays(name: str) -> ImageArrays:
    """The images of an `in_memory` data set."""
    from ablate.data.arrays import digits

    if name == "digits":
        return digits()
    own_code.check_may_run("data set", name)
    return _own_arrays(name)


@cache
def _own_arrays(name: str) -> ImageArrays:
    from ablate.data.arrays import ImageArrays

    made = own_code.function("data set", name)
    try:
        arrays = made()
    except (AblateError, KeyboardInterrupt):
        raise
    except BaseException as error:  # someone else's code may raise anything
        raise AblateError(f"data set '{name}' raised {brief(error)}") from error
    if not isinstance(arrays, ImageArrays):
        raise AblateError(
            f"data set '{name}' returned {type(arrays).__name__}, expected ImageArrays",
            hint="from ablate import ImageArrays",
        )
    return arrays


def find_source(name: str, *, image_size: int, root: Path | None) -> tuple[str, Source]:
    """The variant and the files of a data set that lies on disk.

    Of the editions that are there, the smallest whose images need no enlarging, else the largest.
    """
    from ablate.data.sources.folder import FolderSource

    if name.startswith("imagefolder:"):
        folder = Path(name.partition(":")[2]).expanduser()
        if not folder.is_dir():
            raise DataError(f"{name}: there is no folder {shown(folder)}")
        return "", FolderSource(name, folder)
    info, root = CATALOGUE[name], paths.data_root(root)
    wanted = info.variant_for(image_size)
    order = list(info.editions)
    position = order.index(wanted)
    for variant in (*order[position:], *reversed(order[:position])):
        source = _lying(name, info.editions[variant], root)
        if source is not None:
            return variant, source
    raise _missing(info, wanted, root)


def _lying(name: str, edition: Edition, root: Path) -> Source | None:
    """The edition's files, in whichever form they lie in the data root; None if they do not."""
    from ablate.data.sources.cifar import RecordSource
    from ablate.data.sources.folder import FolderSource
    from ablate.data.sources.imagenet import originals
    from ablate.data.sources.tar import TarSource
    from ablate.data.sources.tgz import ArchiveSource

    places = [root / file for file in (edition.folder, edition.archive, *edition.also) if file]
    there = next((place for place in places if place.exists()), None)
    if name.startswith("cifar"):
        return None if there is None else RecordSource(name, there)
    if there is not None and there.is_file():
        return (TarSource if there.suffix == ".tar" else ArchiveSource)(name, there)
    if there is not None and (there / "train").exists():
        return FolderSource(name, there)
    folders = dict.fromkeys([root / edition.folder, root, root / name])
    found = (originals(name, edition, folder) for folder in folders)
    packed = next((source for source in found if source is not None), None)
    if packed is not None or there is None or any(there.glob("*.tar")):
        return packed  # or another edition's
    return FolderSource(name, there)  # which says what it lacks


def _missing(info: DatasetInfo, variant: str, root: Path) -> DataError:
    edition, name = info.editions[variant], info.name
    size = " (full size)" if variant == "full" else f" ({variant} px)" if variant else ""
    option = f" --size {variant}" if variant else ""
    if edition.url:
        get = f"ablate datasets fetch {name}{option}      about {edition.megabytes} MB"
    else:
        folder = shown(root / edition.folder)
        get = f"put your copy's train/CLASS/ and val/CLASS/, or its archives, in {folder}"
    return DataError(
        f"{name}{size} is not in {shown(root)}", hint=f"{get}; or --data DIR if you have it"
    )
