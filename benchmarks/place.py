"""Where and how large the parts run: device, data, folders, and what follows from them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import LeftOutError
from PIL import Image

from ablate.core.recipe import Recipe
from ablate.core.trial import Numerics, Trial
from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info
from ablate.data.dataset import CachedDataset
from ablate.data.splits import limited

SUFFIX = ".JPEG"


@dataclass(frozen=True)
class Place:
    """What was asked for on the command line. ends: time.monotonic() of its last minute."""

    device: torch.device
    data: Path
    out: Path
    tiny: bool
    repeats: int
    ends: float
    seeds: int | None = None
    editions: bool = False

    @property
    def gpu(self) -> bool:
        """Not on the CPU, and not in small."""
        return self.device.type == "cuda" and not self.tiny

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    @property
    def profile(self) -> str:
        """A study's default numerics here."""
        return "fast" if self.device.type == "cuda" else "exact"

    def pick(self, *, gpu: Any, cpu: Any, tiny: Any) -> Any:
        """A size for each case."""
        return tiny if self.tiny else gpu if self.gpu else cpu

    def rounds(self) -> Iterator[int]:
        """As many as were asked for; the same number whatever the time."""
        return iter(range(1 if self.tiny else self.repeats))

    # ------------------------------------------------------------------------------ real images

    @cached_property
    def images(self) -> Path:
        """A folder of real JPEGs, train/CLASS/… and val/CLASS/….

        All of Imagenette (160 px) on a GPU, a class-balanced part of it on a CPU, handwritten
        digits written as JPEGs in small. Raises LeftOutError where Imagenette is not at hand.
        """
        if self.tiny:
            return self._digits()
        found = sorted(p for p in self.data.glob("imagenette2*") if (p / "train").is_dir())
        if not found:
            raise LeftOutError(f"no imagenette2-160/train in {self.data} (--data, ABLATE_DATA)")
        whole = next((p for p in found if p.name.endswith("-160")), found[0])
        return whole if self.gpu else self._part(whole, {"train": 1024, "val": 256})

    def _part(self, whole: Path, counts: dict[str, int]) -> Path:
        folder = self.out / "images"
        for split, count in counts.items():
            paths = sorted(whole.glob(f"{split}/*/*{SUFFIX}"))
            names = sorted({path.parent.name for path in paths})
            labels = np.array([names.index(path.parent.name) for path in paths])
            for index in limited(labels, count, split).tolist():
                link = folder / paths[index].relative_to(whole)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(paths[index].resolve())
        return folder

    def _digits(self) -> Path:
        folder = self.out / "images"
        cached = ensure_cache("digits", None, 8).limited(40)
        for name, split in (("train", cached.train), ("val", cached.eval)):
            for index in split.ids.tolist():
                path = folder / name / str(split.labels[index]) / f"{index}{SUFFIX}"
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    Image.fromarray(split.image(index)).resize((40, 32)).save(path, "JPEG")
        return folder

    @property
    def dataset(self) -> str:
        """The same images as a study names them."""
        return f"imagefolder:{self.images.resolve()}"

    def cached(self) -> CachedDataset:
        """They, decoded: below `out`, never in the user's cache."""
        self.use_own_cache()
        return ensure_cache(self.dataset, None, 160)

    def use_own_cache(self) -> None:
        """Of decoded images, for this process and those it starts."""
        os.environ["ABLATE_CACHE"] = str((self.out / "decoded").resolve())

    # ---------------------------------------------------------------------------------- trials

    def recipe(self, model: str, size: int, batch: int, **settings: Any) -> Recipe:
        """A resolved recipe; crop, flip, mean and deviation are Imagenette's."""
        info = dataset_info("imagenette")
        defaults: dict[str, Any] = {
            "model": model,
            "epochs": 1,
            "batch_size": batch,
            "image_size": size,
            "eval_size": size,
            "eval_resize": round(size * 256 / 224),
            "crop": info.crop,
            "flip": info.flip,
            "mean": info.mean,
            "std": info.std,
        }
        return Recipe(**(defaults | settings))

    def trial(self, recipe: Recipe, cached: CachedDataset, profile: str | None = None) -> Trial:
        """Without tricks in its key: parts hand the tricks to the engine themselves."""
        profile = profile or self.profile
        numerics = Numerics.named(profile, self.device.type)
        if profile == "fast" and self.gpu:  # on a CPU compiling would take longer than measuring
            numerics = numerics.model_copy(update={"compiled": True})
        return Trial(
            recipe=recipe,
            dataset=cached.ref(cached.limit),
            tricks=(),
            numerics=numerics,
            seed=0,
        )
