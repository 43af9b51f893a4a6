"""Which data set exactly: its contents' fingerprint, known without hashing after the first time."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.core.trial import DatasetRef
from ablate.data import catalogue
from ablate.data.builtin import CATALOGUE
from ablate.data.decode import DECODER
from ablate.data.sources.base import Source
from ablate.data.sources.file_names import LeftOut
from ablate.data.sources.file_names import notes as left_out_in_words
from ablate.data.sources.folder import FolderSource
from ablate.data.sources.tar import TarSource
from ablate.data.sources.tgz import ArchiveSource
from ablate.errors import AblateError, DataError
from ablate.util import shared
from ablate.util.files import open_plain, read_at_most
from ablate.util.paths import decoded_root, shown

_FORMAT = 1
_LONGEST = 64 << 20  # bytes of what is known of a data set


_COUNTS: dict[str, tuple[int, int]] = {}  # by fingerprint, of what this process looked at


@dataclass(frozen=True)
class Identity:
    """What is known of a data set's contents without decoding them.

    counts: train and evaluation images. source: its files, None for one that is in memory.
    left_out: files that are not taken as images.
    """

    name: str
    variant: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: tuple[int, int]
    source: Source | None = None
    left_out: LeftOut = ()

    def ref(self, limit: int | None) -> DatasetRef:
        """As a trial names it; a limit that leaves nothing out is none."""
        if limit is not None and limit < len(self.classes):
            raise AblateError(
                f"a limit of {limit} is below the {len(self.classes)} classes of {self.name}",
                hint=f"--limit {len(self.classes) * 10}",
            )
        return DatasetRef(
            name=self.name,
            variant=self.variant,
            fingerprint=self.fingerprint,
            decoder=DECODER,
            limit=None if limit is None or limit >= max(self.counts) else limit,
            num_classes=len(self.classes),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: files left out, a copy that is not the published one."""
        left_out = left_out_in_words(self.name, self.left_out)
        published = None if ":" in self.name else catalogue.dataset_info(self.name).counts
        if published is None or published == self.counts:
            return left_out
        (train, test), (all_train, all_test) = self.counts, published
        return (
            *left_out,
            f"this copy of {self.name} has {train:,} training and {test:,} evaluation images, "
            f"the published one {all_train:,} and {all_test:,}",
        )

    @property
    def folder(self) -> Path:
        """Where its decoded cache is, or will be."""
        return cache_folder(self.name, self.variant, self.fingerprint)


def cache_folder(name: str, variant: str, fingerprint: str) -> Path:
    """The folder of the decoded cache with these contents."""
    kind = name.partition(":")[0] + (f"-{variant}" if variant else "")
    return decoded_root() / f"{kind}-{DECODER}-{fingerprint[:24]}"


def dataset_ref(
    name: str, *, image_size: int, data_root: Path | None, limit: int | None
) -> DatasetRef:
    """The data set as a trial names it, with the fingerprint of its contents.

    Reads sizes and times of the files only, once their contents are known. Raises DataError where
    the files are missing, AblateError for an unknown name or a limit below the number of classes.
    """
    return identify(name, image_size=image_size, root=data_root).ref(limit)


def identify(name: str, *, image_size: int, root: Path | None) -> Identity:
    """Find a data set and its fingerprint; hashes files only when their sizes or times are new.

    Raises DataError where the files are missing or not laid out as they should be.
    """
    catalogue.check_name(name)
    if catalogue.in_memory(name):
        arrays = catalogue.load_arrays(name)
        counts = (len(arrays.train_labels), len(arrays.eval_labels))
        return _remembered(Identity(name, "", arrays.fingerprint(), arrays.classes, counts))
    variant, source = catalogue.find_source(name, image_size=image_size, root=root)
    index = _index_file(source.location)
    known = _read(index)
    if known.get("stat") != source.stat or known.get("format") != _FORMAT:
        known = _measure(name, source)
        _write(index, known)
    elif isinstance(source, ArchiveSource | TarSource) and "left_out" not in known:
        # of a release that took images in hidden folders, too; a folder's `stat` tells
        listed = [source.count("train"), source.count("eval")]
        known = known | {"left_out": source.left_out}
        if listed != known["counts"]:
            known = _measure(name, source)
        _write(index, known)
    # A folder says it again each time: what is left out is not in its `stat`.
    left_out = source.left_out if isinstance(source, FolderSource) else known.get("left_out", ())
    return _remembered(
        Identity(
            name=name,
            variant=variant,
            fingerprint=known["fingerprint"],
            classes=tuple(known["classes"]),
            counts=(known["counts"][0], known["counts"][1]),
            source=source,
            left_out=tuple((place, kind, number) for place, kind, number in left_out),
        )
    )


def _remembered(identity: Identity) -> Identity:
    _COUNTS[identity.fingerprint] = identity.counts
    return identity


def known_counts(ref: DatasetRef) -> tuple[int, int] | None:
    """Train and evaluation images of a trial's data set, its limit aside; None if nobody knows.

    Reads no image: what this process or an earlier one found, else what is published.
    """
    if ref.fingerprint not in _COUNTS:
        for index in (decoded_root() / "sources").glob("*.json"):
            known = _read(index)
            with suppress(KeyError, TypeError, ValueError, IndexError):  # damaged: not known
                train, tested = known["counts"]
                _COUNTS.setdefault(str(known["fingerprint"]), (int(train), int(tested)))
    if ref.fingerprint in _COUNTS:
        return _COUNTS[ref.fingerprint]
    info = CATALOGUE.get(ref.name)
    return info.counts if info else None


def _measure(name: str, source: Source) -> dict[str, Any]:
    expected = () if ":" in name else catalogue.dataset_info(name).folders
    if expected and source.classes != expected:
        missing, extra = set(expected) - set(source.classes), set(source.classes) - set(expected)
        odd = f"lacks the class {min(missing)}" if missing else f"has the class {min(extra)}"
        raise DataError(f"{shown(source.location)} is not {name}: it {odd}")
    return {
        "format": _FORMAT,
        "location": str(source.location),
        "stat": source.stat,
        "fingerprint": source.fingerprint(),
        "classes": list(source.classes),
        "counts": [source.count("train"), source.count("eval")],
        "left_out": source.left_out,
    }


def _index_file(location: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(location.resolve())).hexdigest()[:24]
    return decoded_root() / "sources" / f"{digest}.json"


def _read(index: Path) -> dict[str, Any]:
    try:
        with open_plain(index) as file:
            document = json.loads(read_at_most(file, _LONGEST))
    except (OSError, ValueError, RecursionError):  # not there yet, or damaged: measured again
        return {}
    return document if isinstance(document, dict) else {}


def _write(index: Path, document: dict[str, Any]) -> None:
    """Best effort: planning works where nothing can be written, it only hashes every time."""
    try:
        shared.make_folder(index.parent)
        shared.write_whole(index, lambda file: file.write(json.dumps(document).encode()))
    except OSError:
        return
