"""ImageNet and Places365 in the archives of their publishers, several for each.

Paths and labels are those of the usual folders, so that an unpacked copy is the same data set.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ablate.data.builtin import Edition
from ablate.data.sources import bounded_tar
from ablate.data.sources.base import archive_error
from ablate.data.sources.file_names import is_image
from ablate.data.sources.matlab import check_mat
from ablate.data.sources.tar import Member, PackedSource, members
from ablate.errors import DataError
from ablate.util.paths import shown

_IMAGENET = (
    *("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
    "ILSVRC2012_devkit_t12.tar.gz",
)
_META, _TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
_KIT_FILE = 8 << 20  # bytes of each of the two; the publisher's have under one million
_LIST_FILE = 256 << 20  # bytes of a list of Places365; the longest has 80 million
_LISTS = "filelist_places365-standard.tar"
_PLACES = {
    256: ("train_256_places365standard.tar", "val_256.tar", _LISTS),
    None: ("train_large_places365standard.tar", "val_large.tar", _LISTS),
}


def originals(name: str, edition: Edition, folder: Path) -> PackedSource | None:
    """The publisher's archives in this folder; None if there are none.

    DataError where only some of them are there.
    """
    kind: type[_Archives]
    if name == "imagenet":
        wanted, kind = _IMAGENET, ImagenetArchives
    elif name == "places365":
        wanted, kind = _PLACES[edition.pixels], PlacesArchives
    else:
        return None
    there = [file for file in wanted if (folder / file).is_file()]
    if not there or there == [_LISTS]:  # the lists alone belong to either size
        return None
    for file in wanted:
        if file not in there:
            raise DataError(
                f"{name}: {shown(folder)} has {there[0]}, but no {file}",
                hint=f"put {', '.join(wanted)} there, or unpack all into train/CLASS and val/CLASS",
            )
    return kind(name, folder, [folder / file for file in wanted])


class _Archives(PackedSource):
    def __init__(self, name: str, location: Path, archives: list[Path]) -> None:
        super().__init__(name, location, archives)
        self._train, self._val, self._kit = archives


class ImagenetArchives(_Archives):
    """The training archive, of one archive a class; the evaluation archive; the development kit.

    The kit says which class each evaluation image has: `meta.mat` numbers the classes, and line n
    of `ILSVRC2012_validation_ground_truth.txt` has the number of image n.
    """

    def _index(self) -> Mapping[str, Member]:
        found: dict[str, Member] = {}
        for inner in members(self._train):
            wnid = PurePosixPath(inner.name).stem
            for member in members(self._train, inner):
                found[f"train/{wnid}/{PurePosixPath(member.name).name}"] = member
        images = sorted(members(self._val), key=lambda member: member.name)
        wnids = self._truth()
        if len(images) != len(wnids):
            raise DataError(
                f"{shown(self._val)} has {len(images):,} images, but {self._kit.name} classes of "
                f"{len(wnids):,}"
            )
        for member, wnid in zip(images, wnids, strict=True):
            found[f"val/{wnid}/{PurePosixPath(member.name).name}"] = member
        return {path: member for path, member in found.items() if is_image(path.rsplit("/", 1)[1])}

    def _truth(self) -> list[str]:
        """The class folder of every evaluation image, in order."""
        from scipy.io import loadmat

        kit = dict(_compressed(self._kit, (_META, _TRUTH)))
        try:
            check_mat(kit[_META])
            meta = loadmat(io.BytesIO(kit[_META]), squeeze_me=True)["synsets"]
            leaves = {
                int(row["ILSVRC2012_ID"]): str(row["WNID"])
                for row in meta
                if int(row["num_children"]) == 0
            }
            lines = kit[_TRUTH].decode("ascii").split()
            return [leaves[int(line)] for line in lines]
        except Exception as error:  # scipy raises anything for a damaged file
            raise DataError(
                f"{shown(self._kit)} does not say the classes of the evaluation images: "
                f"{type(error).__name__}: {error}"
            ) from error


class PlacesArchives(_Archives):
    """The images in folders of several levels, the evaluation images in one; lists of labels.

    `/a/apartment_building/outdoor` becomes the class `apartment_building-outdoor`, as in the
    publisher's easy format.
    """

    def _index(self) -> Mapping[str, Member]:
        lists = {PurePosixPath(m.name).name: m for m in members(self._kit)}
        try:
            categories = _lines(lists["categories_places365.txt"])
            train = _lines(lists["places365_train_standard.txt"])
            val = _lines(lists["places365_val.txt"])
            folders = {int(number): _folder(category) for category, number in categories}
            # of a training image the folders are below data_256/ or data_large/
            wanted = {f"train/{p.strip('/')}": folders[int(n)] for p, n in train}
            wanted |= {f"val/{p.strip('/')}": folders[int(n)] for p, n in val}
        except (KeyError, ValueError, OSError) as error:
            raise DataError(f"{shown(self._kit)} has no usable list: {error}") from error
        found = {}
        for split, archive in (("train", self._train), ("val", self._val)):
            for member in members(archive):
                below = "/".join(PurePosixPath(member.name).parts[1:])
                folder = wanted.get(f"{split}/{below}")
                if folder is not None and is_image(PurePosixPath(below).name):
                    found[f"{split}/{folder}/{PurePosixPath(below).name}"] = member
        missing = len(wanted) - len(found)
        if missing:
            raise DataError(
                f"{missing:,} of the {len(wanted):,} images that {self._kit.name} lists are not in "
                f"{shown(self._train)} and {self._val.name}"
            )
        return found


def _folder(category: str) -> str:
    """ "/a/apartment_building/outdoor" → "apartment_building-outdoor"."""
    return "-".join(category.strip("/").split("/")[1:])


def _lines(member: Member) -> list[tuple[str, str]]:
    """Path and number of every line."""
    lines = member.read(_LIST_FILE).decode("utf-8").splitlines()
    pairs = [line.split() for line in lines if line.strip()]
    return [(path, number) for path, number in pairs]


def _compressed(archive: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """File name and bytes of these files in the .tar.gz."""
    try:
        for tar, member in bounded_tar.entries(archive, packed=True):
            name = PurePosixPath(member.name).name
            if member.isfile() and name in wanted:
                yield name, bounded_tar.content(tar, member, _KIT_FILE)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise archive_error("", archive, error) from error
