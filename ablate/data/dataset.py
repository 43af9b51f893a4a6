"""A data set in one flat buffer, and where each image begins: its uint8 pixels, or its file.

Files are kept where pixels would be too many; then an image is decoded each time it is used. Both
forms give the same pixels, so a trial does not say which it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.core.hook_types import Ragged
from ablate.data.decode import DECODER, REFUSAL, REFUSED_SINCE, decode
from ablate.data.fingerprint import Identity
from ablate.data.splits import held_out, limited
from ablate.errors import AblateError, DataError
from ablate.util.resources import memory

if TYPE_CHECKING:
    from ablate.core.hook_types import Ragged
    from ablate.core.recipe import Recipe
    from ablate.core.trial import DatasetRef

PIXELS, FILES, TABLE, META = "pixels.npy", "files.npy", "table.npy", "meta.json"
_TOGETHER = 64  # images that a thread decodes without a word


@dataclass(frozen=True)
class Table:
    """Per image, train first: offset and number of its bytes, height, width, label, and path."""

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
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
    int64, sorted, those within the limit. `part`: where some training images are held out, what
    tells this split from others of its name and length. `buffer` holds pixels, or files where
    `encoded`.
    """

    name: str
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    paths: Sequence[str]
    offsets: NDArray[np.int64] = field(repr=False)
    lengths: NDArray[np.int64] = field(repr=False)
    heights: NDArray[np.int64] = field(repr=False)
    widths: NDArray[np.int64] = field(repr=False)
    buffer: NDArray[np.uint8] = field(repr=False)
    encoded: bool = False
    part: str = ""
    dataset: CachedDataset | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> Any:
        return getattr, (self.dataset, self.name)  # as its data set: without the pixels

    @property
    def address(self) -> tuple[str, str, int] | None:
        """Of these images on this machine; None where they are in memory only."""
        folder = self.dataset.folder if self.dataset else None
        return (str(folder), self.name + self.part, len(self)) if folder else None

    def image(self, index: int) -> NDArray[np.uint8]:
        """Image with this id, [h, w, 3]: a view into the buffer, or decoded now."""
        start, length = int(self.offsets[index]), int(self.lengths[index])
        data = self.buffer[start : start + length]
        if self.encoded:
            return decode(data.tobytes())
        return data.reshape(int(self.heights[index]), int(self.widths[index]), 3)

    def native_bytes(self, ids: NDArray[np.int64]) -> int:
        """What the pixels of these images take."""
        return int((self.heights[ids] * self.widths[ids]).sum()) * 3

    def ragged(self, ids: NDArray[np.int64]) -> Ragged:
        """These images on the CPU: views into the memory-mapped pixels, or decoded now."""
        import torch

        if self.encoded:
            return self.packed(ids)
        buffer = torch.from_numpy(self.buffer)
        return Ragged(buffer, self.offsets[ids], self.heights[ids], self.widths[ids])

    def packed(self, ids: NDArray[np.int64], pinned: bool = False, threads: int = 1) -> Ragged:
        """These images copied one after the other into a buffer of their own, on the CPU.

        pinned: in memory that a GPU reads by itself. threads: that decode, where that is needed.
        """
        import torch

        heights, widths = self.heights[ids], self.widths[ids]
        lengths = heights * widths * 3
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        buffer = torch.empty(total, dtype=torch.uint8, pin_memory=pinned)
        into = buffer.numpy()

        def fill(part: slice) -> None:
            places = zip(
                ids[part].tolist(), ends[part].tolist(), lengths[part].tolist(), strict=True
            )
            for index, end, length in places:
                into[end - length : end] = self.image(index).reshape(-1)

        if threads > 1 and self.encoded:
            parts = [slice(i, i + _TOGETHER) for i in range(0, len(ids), _TOGETHER)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, parts))
        else:
            fill(slice(None))
        return Ragged(buffer, ends - lengths, heights, widths)


@dataclass(frozen=True, eq=False)
class CachedDataset:
    """A data set, memory-mapped or in memory, and the limit that applies to it.

    buffer: uint8, all images' pixels, or their files where `encoded`. held_out: one training image
    of so many, within the limit, is evaluated on instead of trained on, and `fold` says which of
    these parts; the evaluation images are then no part of it.
    """

    identity: Identity
    table: Table = field(repr=False)
    buffer: NDArray[np.uint8] = field(repr=False)
    limit: int | None = None
    folder: Path | None = None  # None: in memory
    encoded: bool = False
    held_out: int | None = None
    fold: int = 0

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
        split = self._split("train", slice(0, self.table.train))
        if self.held_out is None:
            return split
        return self._part(split, "train", np.setdiff1d(split.ids, self._held_out(split)))

    @property
    def eval(self) -> Split:
        """The images to evaluate on."""
        if self.held_out is None:
            return self._split("eval", slice(self.table.train, None))
        split = self._split("train", slice(0, self.table.train))
        return self._part(split, "eval", self._held_out(split))

    def _held_out(self, train: Split) -> NDArray[np.int64]:
        assert self.held_out is not None
        return held_out(train.labels, train.ids, self.held_out, self.fold)

    def _part(self, train: Split, name: str, ids: NDArray[np.int64]) -> Split:
        which = f"{self.held_out}-{self.fold}" if self.fold else f"{self.held_out}"
        part = f"-held-out-{which}-of-{len(train)}"
        return replace(train, name=name, ids=ids, part=part)

    def _split(self, name: str, part: slice) -> Split:
        table = self.table
        return Split(
            name=name,
            labels=table.labels[part],
            ids=limited(table.labels[part], self.limit, name),
            paths=table.paths[part],
            offsets=table.offsets[part],
            lengths=table.lengths[part],
            heights=table.heights[part],
            widths=table.widths[part],
            buffer=self.buffer,
            encoded=self.encoded,
            dataset=self,
        )

    def ref(self, limit: int | None = None) -> DatasetRef:
        """As a trial names it."""
        return self.identity.ref(limit)

    def limited(self, limit: int | None) -> CachedDataset:
        """The same data set with at most `limit` images a split (see `ablate.data.splits`)."""
        return replace(self, limit=limit)

    def holding_out(self, one_in: int | None, fold: int = 0) -> CachedDataset:
        """The same data set, evaluated on one in so many training images, this part of them; None:
        as it is."""
        return replace(self, held_out=one_in, fold=fold)

    def __reduce__(self) -> Any:
        # A worker maps the file itself: pickling the map would copy every pixel.
        if self.folder is None:
            parts = (self.identity, self.table, self.buffer, self.limit, None, False)
            return CachedDataset, (*parts, self.held_out, self.fold)
        return _reopen, (self.folder, self.identity.name, self.limit, self.held_out, self.fold)


def _reopen(
    folder: Path, name: str, limit: int | None, held_out: int | None, fold: int
) -> CachedDataset:
    return open_folder(folder, name).limited(limit).holding_out(held_out, fold)


def open_folder(folder: Path, name: str) -> CachedDataset:
    """The cache in this folder; OSError, ValueError or KeyError where it is not whole."""
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    encoded = (folder / FILES).exists()
    # Copy-on-write: the file cannot be changed, and torch needs memory that calls itself writable.
    buffer = np.load(folder / (FILES if encoded else PIXELS), mmap_mode="c")
    rows = np.load(folder / TABLE)
    offsets, heights, widths, labels = rows[:4]
    lengths = rows[4] if encoded else heights * widths * 3
    paths = tuple(meta["paths"])
    table = Table(offsets, lengths, heights, widths, labels, paths, train=meta["counts"][0])
    if meta["decoder"] != DECODER or len(buffer) != meta["bytes"]:
        raise ValueError(f"{folder} is not a whole cache of decoder {DECODER}")
    if meta.get("refusal") != REFUSAL and any(p.lower().endswith(REFUSED_SINCE) for p in paths):
        raise ValueError(f"{folder} may hold images that are refused by now")
    identity = Identity(
        name=name,
        variant=meta["variant"],
        fingerprint=meta["fingerprint"],
        classes=tuple(meta["classes"]),
        counts=(meta["counts"][0], meta["counts"][1]),
    )
    return CachedDataset(identity, table, np.asarray(buffer), folder=folder, encoded=encoded)


def check_recipe(cached: CachedDataset, recipe: Recipe) -> None:
    """AblateError for a resolved recipe without one full batch, that cuts more than there is, or of
    which a batch of decoded images does not fit into memory."""
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
    if cached.encoded:
        _check_memory(cached, recipe.batch_size)


def _check_memory(cached: CachedDataset, batch_size: int) -> None:
    """Files that are kept are decoded a batch at a time, whole: some bytes of file may be half a
    gigabyte of pixels."""
    known = memory()
    if known is None:
        return
    train, most = cached.train, known.total // 2
    sizes = 3 * train.heights[train.ids] * train.widths[train.ids]
    largest = int(np.sort(sizes)[-batch_size:].sum())
    if largest > most:
        few = max(1, int(batch_size * most / largest))
        raise DataError(
            f"the {batch_size} largest images of {cached.name} are {largest / 1e9:,.0f} GB of "
            "pixels, which a batch may decode at once; half of this machine's memory is "
            f"{most / 1e9:,.0f} GB",
            hint=f"make the images smaller, or recipe.batch_size = {few}",
        )
