"""A decoded data set: every image's uint8 pixels in one flat buffer, and where each begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.decode import DECODER
from ablate.data.identity import Identity
from ablate.data.subset import limited
from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.recipe import Recipe
    from ablate.trial import DatasetRef
    from ablate.types import Ragged

PIXELS, TABLE, META = "pixels.npy", "table.npy", "meta.json"


@dataclass(frozen=True)
class Table:
    """Per image, train first: offset of its first byte, height, width, label, and its path."""

    offsets: NDArray[np.int64]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    train: int  # how many are training images


@dataclass(frozen=True, eq=False)
class Split:
    """The training or the evaluation images.

    An image's id is its position in the whole split, whatever the limit: the same image draws the
    same random numbers with and without one. `labels` int64 [whole split], indexed by id; `ids`
    int64, sorted, those within the limit.
    """

    name: str
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    paths: Sequence[str]
    offsets: NDArray[np.int64] = field(repr=False)
    heights: NDArray[np.int64] = field(repr=False)
    widths: NDArray[np.int64] = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Image with this id, [h, w, 3]: a view into the buffer."""
        start, h, w = (int(a[index]) for a in (self.offsets, self.heights, self.widths))
        return self.pixels[start : start + h * w * 3].reshape(h, w, 3)

    def ragged(self, ids: NDArray[np.int64]) -> Ragged:
        """Views of these images in the memory-mapped buffer, on the CPU."""
        import torch

        from ablate.types import Ragged

        buffer = torch.from_numpy(self.pixels)
        return Ragged(buffer, self.offsets[ids], self.heights[ids], self.widths[ids])

    def packed(self, ids: NDArray[np.int64]) -> Ragged:
        """These images copied one after the other into a buffer of their own, on the CPU."""
        import torch

        from ablate.types import Ragged

        heights, widths = self.heights[ids], self.widths[ids]
        lengths = heights * widths * 3
        ends = np.cumsum(lengths)
        buffer = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
        for index, end, length in zip(ids.tolist(), ends.tolist(), lengths.tolist(), strict=True):
            start = int(self.offsets[index])
            buffer[end - length : end] = self.pixels[start : start + length]
        return Ragged(torch.from_numpy(buffer), ends - lengths, heights, widths)


@dataclass(frozen=True, eq=False)
class CachedDataset:
    """A decoded data set, memory-mapped or in memory, and the limit that applies to it."""

    identity: Identity
    table: Table = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)
    limit: int | None = None
    folder: Path | None = None  # None: in memory

    @property
    def name(self) -> str:
        """As the study names it."""
        return self.identity.name

    @property
    def num_classes(self) -> int:
        """K; labels are 0 … K − 1."""
        return len(self.identity.classes)

    @property
    def train(self) -> Split:
        """The training images."""
        return self._split("train", slice(0, self.table.train))

    @property
    def eval(self) -> Split:
        """The images to evaluate on."""
        return self._split("eval", slice(self.table.train, None))

    def _split(self, name: str, part: slice) -> Split:
        table = self.table
        return Split(
            name=name,
            labels=table.labels[part],
            ids=limited(table.labels[part], self.limit, name),
            paths=table.paths[part],
            offsets=table.offsets[part],
            heights=table.heights[part],
            widths=table.widths[part],
            pixels=self.pixels,
        )

    def ref(self, limit: int | None = None) -> DatasetRef:
        """As a trial names it."""
        return self.identity.ref(limit)

    def limited(self, limit: int | None) -> CachedDataset:
        """The same data set with at most `limit` images a split (see `ablate.data.subset`)."""
        return replace(self, limit=limit)

    def __reduce__(self) -> Any:
        # A worker maps the file itself: pickling the map would copy every pixel.
        if self.folder is None:
            return CachedDataset, (self.identity, self.table, self.pixels, self.limit, None)
        return _reopen, (self.folder, self.identity.name, self.limit)


def _reopen(folder: Path, name: str, limit: int | None) -> CachedDataset:
    return open_folder(folder, name).limited(limit)


def open_folder(folder: Path, name: str) -> CachedDataset:
    """The cache in this folder; OSError, ValueError or KeyError where it is not whole."""
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    # Copy-on-write: the file cannot be changed, and torch needs memory that calls itself writable.
    pixels = np.load(folder / PIXELS, mmap_mode="c")
    offsets, heights, widths, labels = np.load(folder / TABLE)
    paths = tuple(meta["paths"])
    table = Table(offsets, heights, widths, labels, paths, train=meta["counts"][0])
    if meta["decoder"] != DECODER or len(pixels) != meta["bytes"]:
        raise ValueError(f"{folder} is not a whole cache of decoder {DECODER}")
    identity = Identity(
        name=name,
        variant=meta["variant"],
        fingerprint=meta["fingerprint"],
        classes=tuple(meta["classes"]),
        counts=(meta["counts"][0], meta["counts"][1]),
    )
    return CachedDataset(identity, table, np.asarray(pixels), folder=folder)


def check_recipe(cached: CachedDataset, recipe: Recipe) -> None:
    """AblateError for a resolved recipe without one full batch, or that cuts more than there is."""
    images, eval_size, eval_resize = len(cached.train), recipe.eval_size, recipe.eval_resize
    if images < recipe.batch_size:
        raise AblateError(
            f"recipe.batch_size {recipe.batch_size} is more than the {images} training "
            f"images of {cached.name}: an epoch would have no step",
            hint=f"recipe.batch_size = {max(1, images // 4)}, or a larger --limit",
        )
    if eval_size is not None and eval_resize is not None and eval_size > eval_resize:
        raise AblateError(
            f"recipe.eval_size {eval_size} is more than recipe.eval_resize {eval_resize}, "
            "from which it is cut",
            hint=f"recipe.eval_resize = {round(eval_size * 256 / 224)}",
        )
