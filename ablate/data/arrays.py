"""Data sets that are arrays in memory: the packaged digits, and anyone's own function."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from ablate.core.recipe import Crop
from ablate.data.builtin import CATALOGUE, DatasetInfo
from ablate.errors import DataError

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
Labels = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True)
class ImageArrays:
    """What a data set function returns: `package.module:function`, called without arguments.

    Images: uint8 [h, w, 3] or [h, w] each, of any sizes. Labels: 0 … K − 1, every class in both
    splits. The other fields are what a recipe gets that does not set its own; mean and std per
    channel in [0, 255].
    """

    train_images: Images
    train_labels: Labels
    eval_images: Images
    eval_labels: Labels
    classes: tuple[str, ...]
    image_size: int
    crop: Crop = field(default_factory=Crop)
    flip: float = 0.5
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (64.0, 64.0, 64.0)
    description: str = "from Python"

    def __post_init__(self) -> None:
        for split in ("train", "eval"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if len(images) != len(labels):
                raise DataError(f"{len(images)} {split} images, but {len(labels)} labels")
            present = set(np.asarray(labels).tolist())
            if present != set(range(len(self.classes))):
                raise DataError(
                    f"the {split} labels are not exactly 0 to {len(self.classes) - 1}, "
                    f"one for each of the {len(self.classes)} classes"
                )
            for index, image in enumerate(images):
                grey = getattr(image, "ndim", 0) == 2
                shaped = grey or (getattr(image, "ndim", 0) == 3 and image.shape[2] == 3)
                if not shaped or image.dtype != np.uint8 or 0 in image.shape:
                    raise DataError(f"{split} image {index} is not uint8 [h, w, 3] or [h, w]")

    def info(self, name: str) -> DatasetInfo:
        """As the catalogue describes a data set."""
        return DatasetInfo(
            name=name,
            description=self.description,
            num_classes=len(self.classes),
            image_size=self.image_size,
            crop=self.crop,
            flip=self.flip,
            mean=self.mean,
            std=self.std,
            classes=self.classes,
            counts=(len(self.train_labels), len(self.eval_labels)),
        )

    def all_images(self) -> list[NDArray[np.uint8]]:
        """[h, w, 3] each: train, then eval."""
        images = [*self.train_images, *self.eval_images]
        return [i if i.ndim == 3 else np.repeat(i[:, :, None], 3, axis=2) for i in images]

    def all_labels(self) -> NDArray[np.int64]:
        """int64: train, then eval."""
        parts = (np.asarray(self.train_labels), np.asarray(self.eval_labels))
        return np.concatenate([part.astype(np.int64) for part in parts])

    def fingerprint(self) -> str:
        """SHA-256 of sizes, pixels and labels, in hex."""
        digest = hashlib.sha256(f"{len(self.train_labels)} {len(self.eval_labels)}".encode())
        for image in self.all_images():
            digest.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        digest.update(self.all_labels().tobytes())
        return digest.hexdigest()


@cache
def digits() -> ImageArrays:
    """The packaged digits; every third image, beginning with the first, is a test image."""
    with files("ablate.data").joinpath("digits.npz").open("rb") as stream:
        stored = np.load(stream)
        images, labels = stored["images"], stored["labels"]
    scaled = np.rint(images.astype(np.float64) * (255 / 16)).astype(np.uint8)
    test = np.arange(len(labels)) % 3 == 0
    info = CATALOGUE["digits"]
    return ImageArrays(
        train_images=scaled[~test],
        train_labels=labels[~test],
        eval_images=scaled[test],
        eval_labels=labels[test],
        classes=info.classes,
        image_size=info.image_size,
    )
