"""Real photographs: a part of Imagenette, decoded, augmented and compared with torchvision's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as tv

from ablate.core import rng
from ablate.core.recipe import Crop
from ablate.data.augment import CROP_DRAWS, crop_boxes
from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info, find_source
from ablate.data.dataset import CachedDataset
from ablate.data.fingerprint import dataset_ref
from ablate.data.resample import centres, crops, resample_batched, resample_each


@pytest.fixture
def part(imagenette_root: Path, tmp_path: Path) -> CachedDataset:
    """Every 60th image of each class, in a folder of links."""
    folder = tmp_path / "root" / "imagenette2-160"
    for split in ("train", "val"):
        for wnid in dataset_info("imagenette").folders:
            (folder / split / wnid).mkdir(parents=True)
            original = imagenette_root / "imagenette2-160" / split / wnid
            for file in sorted(original.iterdir())[::60]:
                (folder / split / wnid / file.name).symlink_to(file)
    return ensure_cache("imagenette", tmp_path / "root", 160)


def test_all_of_it_is_there(imagenette_root: Path) -> None:
    variant, source = find_source("imagenette", image_size=160, root=imagenette_root)
    assert variant == "160"
    assert (source.count("train"), source.count("eval")) == dataset_info("imagenette").counts
    assert source.classes == dataset_info("imagenette").folders


def test_pixels_are_those_of_torchvision(part: CachedDataset, tmp_path: Path) -> None:
    for split, folder in ((part.train, "train"), (part.eval, "val")):
        theirs = ImageFolder(tmp_path / "root" / "imagenette2-160" / folder)
        assert split.labels.tolist() == theirs.targets
        for index, (image, _) in enumerate(theirs):
            assert np.array_equal(split.image(index), np.asarray(image))


@pytest.mark.parametrize("size", [128, 160])
def test_crops_and_centres_are_those_of_torchvision(part: CachedDataset, size: int) -> None:
    split = part.train
    ids = split.ids[:: len(split) // 32]
    images = split.ragged(ids)
    u = rng.uniforms(1, ids, CROP_DRAWS)
    boxes = crop_boxes(u, images.heights, images.widths, Crop())
    resize = round(size * 256 / 224)
    for views, cropped in (
        (crops(*boxes, size), True),
        (centres(images.heights, images.widths, resize, size), False),
    ):
        each, batched = (form(images, views, size) for form in (resample_each, resample_batched))
        assert (each.int() - batched.int()).abs().max() <= 1
        for index in range(len(ids)):
            if cropped:
                box = [int(column[index]) for column in boxes]
                theirs = tv.resized_crop(images[index], *box, [size, size], antialias=True)
            else:
                resized = tv.resize(images[index], [resize], antialias=True)
                theirs = tv.center_crop(resized, [size, size])
            assert torch.equal(each[index], theirs)


@pytest.mark.long
def test_published_copy_has_one_fingerprint(imagenette_root: Path) -> None:
    ref = dataset_ref("imagenette", image_size=160, data_root=imagenette_root, limit=None)
    assert ref.fingerprint == "3806ba3b8a329cc4282e574d4afbadf4d5e1341dfd8f28ec9bd505ca15a62adf"
