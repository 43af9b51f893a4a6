"""Image files kept where pixels would be too many: the same pixels, batches and trials."""

from __future__ import annotations

import pickle
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

from ablate.core.recipe import Crop, Recipe
from ablate.core.trial import Numerics, Trial
from ablate.data.augment import horizontal_flip, normalise, random_resized_crop
from ablate.data.cache import ensure_cache, open_cache
from ablate.data.dataset import CachedDataset, check_recipe
from ablate.data.device_copy import Mapped, Resident, Sent
from ablate.data.loader import TrialData, open_data
from ablate.engine.loop import train
from ablate.engine.recorder import Memory
from ablate.errors import DataError
from ablate.util import resources
from tests.helpers.data_samples import pack, write_images

CPU = torch.device("cpu")


@pytest.fixture
def both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[CachedDataset, CachedDataset, Path]:
    """The same 46 + 22 images as pixels and as files, and their folder."""
    folder = write_images(tmp_path / "two", ("a", "b"), 23, 11)
    decoded = ensure_cache(f"imagefolder:{folder}", None, 16)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("ABLATE_CACHE_LIMIT", "0")
    kept = ensure_cache(f"imagefolder:{folder}", None, 16)
    return decoded, kept, folder


def recipe(**changes: Any) -> Recipe:
    plain = Recipe(
        model="resnet8",
        epochs=2,
        batch_size=8,
        image_size=16,
        eval_size=16,
        eval_resize=18,
        crop=Crop(),
        flip=0.5,
        mean=(120.0, 110.0, 100.0),
        std=(60.0, 50.0, 40.0),
    )
    return plain.model_copy(update=changes)


def opened(data: CachedDataset, **options: Any) -> TrialData:
    crop, flip = random_resized_crop(Crop()), horizontal_flip(0.5)
    last = normalise((120.0, 110.0, 100.0), (60.0, 50.0, 40.0))
    return open_data(data, recipe(), [crop, flip, last], 3, CPU, **options)


def test_the_files_are_kept_and_nothing_else(
    both: tuple[CachedDataset, CachedDataset, Path],
) -> None:
    decoded, kept, folder = both
    assert decoded.folder is not None
    assert kept.folder is not None
    assert {f.name for f in decoded.folder.iterdir()} == {"pixels.npy", "table.npy", "meta.json"}
    assert {f.name for f in kept.folder.iterdir()} == {"files.npy", "table.npy", "meta.json"}
    size = sum(file.stat().st_size for file in folder.rglob("*.JPEG"))
    assert len(np.load(kept.folder / "files.npy", mmap_mode="r")) == size
    assert kept.encoded
    assert not decoded.encoded


def test_it_is_the_same_data_set(both: tuple[CachedDataset, CachedDataset, Path]) -> None:
    decoded, kept, folder = both
    assert kept.ref() == decoded.ref()  # so no trial says which it was trained on
    for name, split in (("train", kept.train), ("val", kept.eval)):
        theirs = ImageFolder(folder / name)
        assert split.labels.tolist() == theirs.targets
        for index, (image, _) in enumerate(theirs):
            assert np.array_equal(split.image(index), np.asarray(image))
    again = open_cache(kept.ref(), None)
    assert again.encoded
    assert len(pickle.dumps(again)) < 1000
    assert np.array_equal(pickle.loads(pickle.dumps(again)).train.image(7), decoded.train.image(7))


def test_every_store_gives_the_same_images(
    both: tuple[CachedDataset, CachedDataset, Path],
) -> None:
    decoded, kept, _ = both
    split = kept.limited(20).train
    ids = [split.ids[:8], split.ids[[19, 3, 3]], split.ids[8:16], split.ids[16:], split.ids[:1]]
    expected = list(Mapped(decoded.train).batches(ids))
    for store in (Mapped(split), Resident(split, CPU), Sent(split, CPU), Sent(split, CPU, 2)):
        for epoch in range(2):
            made = list(store.batches(ids))
            assert len(made) == len(expected), epoch
            for images, wanted in zip(made, expected, strict=True):
                assert len(images) == len(wanted)
                for index in range(len(wanted)):
                    assert torch.equal(images[index], wanted[index])
        stopped = store.batches(ids)
        next(stopped)
        stopped.close()  # type: ignore[attr-defined]
        assert torch.equal(next(store.batches(ids))[0], expected[0][0])
        store.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_bits(
    both: tuple[CachedDataset, CachedDataset, Path], workers: int
) -> None:
    decoded, kept, _ = both
    ours, theirs = opened(kept, workers=workers), opened(decoded)
    for epoch in (0, 1):
        pairs = list(
            zip(ours.train_batches(epoch, 16), theirs.train_batches(epoch, 16), strict=True)
        )
        assert len(pairs) == 5
        assert all(torch.equal(a.images, b.images) for a, b in pairs)
        assert all(torch.equal(a.labels, b.labels) for a, b in pairs)
    for mine, other in zip(ours.eval_batches(), theirs.eval_batches(), strict=True):
        assert torch.equal(mine[0], other[0])
    ours.close()


def test_training_is_the_same_bits(both: tuple[CachedDataset, CachedDataset, Path]) -> None:
    weights, losses = [], []
    for data in both[:2]:
        trial = Trial(
            recipe=recipe(),
            dataset=data.ref(),
            tricks=(),
            numerics=Numerics.named("exact", "cpu"),
            seed=3,
        )
        memory = Memory()
        run = train(trial, [], lambda augmentations: opened(data), CPU, memory)  # noqa: B023
        weights.append(run.model.state_dict())
        losses.append([record["metrics"]["train_loss"] for record in memory.records])
    assert losses[0] == losses[1]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_an_archive_is_kept_too(
    woof_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = ensure_cache("imagewoof", woof_root, 160)
    pack(woof_root / "imagewoof2-160", tmp_path / "archives" / "imagewoof2-160.tgz")
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("ABLATE_CACHE_LIMIT", "0")
    kept = ensure_cache("imagewoof", tmp_path / "archives", 160)
    assert kept.encoded
    assert kept.ref() == decoded.ref()
    for ours, theirs in ((kept.train, decoded.train), (kept.eval, decoded.eval)):
        assert all(np.array_equal(ours.image(i), theirs.image(i)) for i in range(len(ours)))


def test_what_is_damaged_is_named_when_it_is_kept(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_CACHE_LIMIT", "0")
    file = image_folder / "val" / "bee" / "bee_2.JPEG"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"eval image 5, .*bee_2\.JPEG, cannot be decoded: image"):
        ensure_cache(f"imagefolder:{image_folder}", None, 32)


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("limit", "free", "encoded"),
    [
        (None, 10**12, False),
        (None, 30_000, True),  # pixels would take more than half of the disk
        ("1", 60_000, False),  # unless told so
        ("0.00001", 10**12, True),
    ],
)
def test_the_form_follows_the_disk_and_the_limit(
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str | None,
    free: int,
    encoded: bool,
) -> None:
    if limit is not None:
        monkeypatch.setenv("ABLATE_CACHE_LIMIT", limit)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free, 0, free))
    assert ensure_cache(f"imagefolder:{image_folder}", None, 32).encoded == encoded


def test_files_that_do_not_fit_are_refused(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(9000, 0, 9000))
    with pytest.raises(DataError, match=r"keeping the files of imagefolder:.* takes about 0 GiB"):
        ensure_cache(f"imagefolder:{image_folder}", None, 32)


@pytest.mark.parametrize("wrong", ["much", "nan", "inf"])
def test_a_limit_that_is_no_number(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("ABLATE_CACHE_LIMIT", wrong)
    with pytest.raises(DataError, match=f"ABLATE_CACHE_LIMIT is '{wrong}', expected the GB"):
        ensure_cache(f"imagefolder:{image_folder}", None, 32)


def test_a_batch_of_pixels_that_no_memory_holds_is_refused(
    both: tuple[CachedDataset, CachedDataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of some bytes can be half a gigabyte of pixels, and a batch decodes all of its own."""
    decoded, kept, _ = both
    split = kept.train
    largest = sorted(3 * split.heights * split.widths)[-8:]
    for short, refused in ((0, False), (1, True)):
        total = 2 * (int(sum(largest)) - short)
        monkeypatch.setattr(
            "ablate.data.dataset.memory", lambda total=total: resources.Memory(total, 0, False)
        )
        check_recipe(decoded, recipe())
        if not refused:
            check_recipe(kept, recipe())
            continue
        with pytest.raises(DataError, match=r"8 largest images of .* GB of pixels") as caught:
            check_recipe(kept, recipe())
        assert (caught.value.hint or "").endswith("recipe.batch_size = 7")
