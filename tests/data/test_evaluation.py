"""Evaluation images are made once for all trials of a data set, and shared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from ablate.data.cache import ensure_cache
from ablate.data.dataset import CachedDataset
from ablate.data.evaluation import EvalImages
from tests.helpers.data_samples import write_images

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> CachedDataset:
    """22 evaluation images of two classes, of many sizes."""
    return ensure_cache(f"imagefolder:{write_images(tmp_path / 'two', ('a', 'b'), 3, 11)}", None, 8)


def files(data: CachedDataset) -> list[Path]:
    assert data.folder is not None
    return sorted(data.folder.glob("eval-*"))


def expected(data: CachedDataset, resize: int, size: int) -> torch.Tensor:
    """As torchvision makes them, one by one."""
    split = data.eval
    natives = [torch.from_numpy(split.image(i).copy()).permute(2, 0, 1) for i in split.ids.tolist()]
    resized = [tv.resize(native, [resize], antialias=True) for native in natives]
    return torch.stack([tv.center_crop(image, [size, size]) for image in resized])


def test_they_are_torchvisions_the_first_time_and_later(data: CachedDataset) -> None:
    for resize, size in ((18, 16), (18, 12), (21, 16)):
        for _ in range(2):
            ours = EvalImages(data, resize, size, CPU).all()
            assert torch.equal(ours, expected(data, resize, size))
    assert len(files(data)) == 3
    few = data.limited(6)
    assert torch.equal(EvalImages(few, 18, 16, CPU).all(), expected(few, 18, 16))
    assert len(files(data)) == 4
    assert data.folder is not None
    assert list(data.folder.glob("*.tmp")) == []


def test_later_trials_map_the_file_and_cannot_change_it(data: CachedDataset) -> None:
    EvalImages(data, 18, 16, CPU).all()
    (file,) = files(data)
    marked = np.load(file)
    marked[5, 1, 2, 3] ^= 255
    np.save(file, marked)
    images = EvalImages(data, 18, 16, CPU).all()
    assert np.array_equal(images.numpy(), marked)
    images.zero_()
    assert np.array_equal(np.load(file), marked)


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "text"])
def test_a_file_that_is_not_whole_is_made_again(data: CachedDataset, damage: str) -> None:
    EvalImages(data, 18, 16, CPU).all()
    (file,) = files(data)
    whole = file.read_bytes()
    if damage == "other":
        np.save(file, np.zeros((22, 3, 4, 4), dtype=np.uint8))
    else:
        file.write_bytes({"cut": whole[:-9], "empty": b"", "text": b"no array"}[damage])
    assert torch.equal(EvalImages(data, 18, 16, CPU).all(), expected(data, 18, 16))
    assert file.read_bytes() == whole


def test_where_nothing_can_be_written_they_stay_in_memory(data: CachedDataset) -> None:
    code = (
        "import resource, sys, pathlib, torch\n"
        "from ablate.data.cache_builder import opened\n"
        "from ablate.data.evaluation import EvalImages\n"
        "data = opened(pathlib.Path(sys.argv[1]), 'imagefolder:x')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "images = EvalImages(data, 18, 16, torch.device('cpu')).all()\n"
        "print(images.long().sum().item())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data.folder)], capture_output=True, text=True
    )
    assert done.stdout.strip() == str(expected(data, 18, 16).long().sum().item()), done.stderr
    assert files(data) == []


def test_arrays_in_memory_have_no_file() -> None:
    digits = ensure_cache("digits", None, 8).limited(30)
    images = EvalImages(digits, 8, 8, CPU).all()
    assert torch.equal(images, expected(digits, 8, 8))
