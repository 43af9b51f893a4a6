"""What a finished trial said of every test image, as `Attempt.save_predictions` stored it.

Reports read it only when they are asked for something that needs it: it is most of a store's size.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from ablate.errors import AblateError
from ablate.store import attempt_reader
from ablate.util.files import open_plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SPARSE: Final = 64 << 20  # bytes up to which a file may have holes
# What NumPy and zipfile raise for a file that is cut off, flipped or never was one; a member that
# is no array is bytes, which have no shape.
DAMAGED: Final = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, MemoryError),
    *(AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Predictions:
    """Scores of N test images in the order of their ids.

    ids, labels: int64 [N]. classes: K. scores: float32 [N, K] logits; above 100 classes the five
    best [N, 5] in descending order, with their classes in `indices` [N, 5]. logsumexp: float64 [N]
    of all K, None where an older ablate stored five scores without it.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    classes: int
    indices: NDArray[np.integer[Any]] | None = None
    logsumexp: NDArray[np.float64] | None = None

    @cached_property
    def predicted(self) -> NDArray[np.integer[Any]]:
        """The class with the highest score, the first of equal ones [N]."""
        return self.scores.argmax(axis=1) if self.indices is None else self.indices[:, 0]

    def correct(self, best: int = 1) -> NDArray[np.bool_]:
        """Whether the label is among the `best` (at most 5) highest scores [N]."""
        import numpy as np

        if best == 1:
            return np.asarray(self.predicted == self.labels)
        if self.indices is not None:
            first = self.indices[:, :best]
        else:
            first = np.argsort(-self.scores, axis=1, kind="stable")[:, :best]
        return np.asarray((first == self.labels[:, None]).any(axis=1))

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """Probability of the class predicted [N], float64; None where it cannot be known."""
        import numpy as np

        from ablate.stats import log_sum_exp

        if self.logsumexp is None and self.indices is not None:
            return None
        total = log_sum_exp(self.scores) if self.logsumexp is None else self.logsumexp
        return np.asarray(np.exp(self.scores.max(axis=1).astype(np.float64) - total))


def read_predictions(store_path: Path, key: str, attempt: str) -> Predictions | None:
    """Predictions of an attempt, None if it has no such file.

    Raises AblateError, naming the file, if it is damaged or may not be read.
    """
    path = attempt_reader.trial_path(store_path, key) / attempt / "predictions.npz"
    try:
        return _read(path)
    except FileNotFoundError:
        return None
    except PermissionError as error:  # it may be whole: nothing is to be trained again for it
        raise AblateError(
            f"{path} cannot be read: {error.strerror or error}", hint="make it readable for you"
        ) from error
    except DAMAGED as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise AblateError(
            f"{path} is damaged: {why}",
            hint=f"move {path.parent} elsewhere and ablate run trains the trial again",
        ) from error


def stored_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file as they are in it. Raises one of `DAMAGED` for what is no such file.

    Nothing is unpickled, and what claims to be larger than its file is refused unread.
    """
    import numpy as np

    with open_plain(path) as file:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its arrays are compressed")
        size = file.seek(0, os.SEEK_END)
        if sum(member.file_size for member in members) > size:
            raise ValueError("its arrays are larger than the file")
        check_headers(file)
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def check_headers(file: BinaryIO) -> None:
    """Raise ValueError, or one of `DAMAGED`, where an array's header and its bytes do not agree,
    or the bytes are holes: NumPy makes room for what a header says."""
    from numpy.lib import format as npy

    about = os.fstat(file.fileno())
    on_disk = getattr(about, "st_blocks", 0) * 512  # 0 where the file system does not say
    if about.st_size > _SPARSE and 0 < on_disk < about.st_size // 16:
        raise ValueError(f"it has {about.st_size:,} bytes, of which {on_disk:,} are on the disk")
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as opened:
                version = npy.read_magic(opened)
                if version not in read:
                    raise ValueError(f"{member.filename} has version {version}")
                shape, _, kind = read[version](opened)
                told, there = math.prod(shape) * kind.itemsize, member.file_size - opened.tell()
            if kind.hasobject:
                continue  # a pickle, which is refused as one
            if not kind.itemsize or told != there:
                raise ValueError(f"{member.filename} says {told:,} bytes and has {there:,}")


def _read(path: Path) -> Predictions:
    import numpy as np

    arrays = stored_arrays(path)
    ids, labels, scores = (arrays[name] for name in ("ids", "labels", "scores"))
    indices, total = arrays.get("indices"), arrays.get("logsumexp")
    if ids.ndim != 1 or not len(ids) or scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"ids {ids.shape}, scores {scores.shape}")
    if "classes" not in arrays and indices is not None:
        raise ValueError("five scores an image, and no number of classes")
    classes = int(arrays["classes"]) if "classes" in arrays else scores.shape[1]
    lengths = {name: each.shape for name, each in arrays.items() if name in ("labels", "logsumexp")}
    if any(shape != ids.shape for shape in lengths.values()) or len(scores) != len(ids):
        raise ValueError(f"{len(ids)} images, but labels {labels.shape}, scores {scores.shape}")
    if (indices.shape if indices is not None else (len(ids), classes)) != scores.shape:
        raise ValueError(f"{classes} classes, but scores {scores.shape}")
    for name, each in (("labels", labels), ("indices", indices)):
        if each is not None and (each.min() < 0 or each.max() >= classes):
            raise ValueError(f"{name} outside of {classes} classes")
    if np.isnan(scores).any():
        raise ValueError("scores that are no numbers")
    return Predictions(
        ids=ids.astype(np.int64, casting="safe"),
        labels=labels.astype(np.int64, casting="safe"),
        scores=scores.astype(np.float32, casting="same_kind"),
        classes=classes,
        indices=None if indices is None else indices.astype(np.int64, casting="safe"),
        logsumexp=None if total is None else total.astype(np.float64, casting="safe"),
    )
