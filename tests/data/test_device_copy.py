"""What reaches a device: few copies, from pinned memory, and nothing that waits for it.

The meta device has shapes and no values, so that whatever would ask a GPU for one raises there.
"""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ablate.core.recipe import Crop, Recipe
from ablate.data.augment import Normalise, horizontal_flip, normalise, random_resized_crop
from ablate.data.cache import ensure_cache
from ablate.data.dataset import CachedDataset
from ablate.data.device_copy import Resident, Sent, forget, image_store, kept_bytes
from ablate.data.loader import TrialData, open_data
from tests.helpers.data_samples import write_images

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)


@pytest.fixture
def data(tmp_path: Path) -> CachedDataset:
    """46 training and 22 evaluation images of two classes, of many sizes."""
    return ensure_cache(
        f"imagefolder:{write_images(tmp_path / 'two', ('a', 'b'), 23, 11)}", None, 8
    )


def opened(data: CachedDataset, device: torch.device, **options: Any) -> TrialData:
    recipe = Recipe(
        model="any",
        batch_size=8,
        image_size=16,
        eval_size=16,
        eval_resize=18,
        crop=Crop(),
        flip=0.5,
        mean=MEAN,
        std=STD,
    )
    made = [random_resized_crop(Crop()), horizontal_flip(0.5), normalise(MEAN, STD)]
    return open_data(data, recipe, made, 0, device, **options)


class Copies(TorchDispatchMode):
    """Counts what goes from the CPU to another device, and all operations there."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[int, ...]] = []
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.device.type != "cpu":
            self.operations[str(func)] += 1
            inputs = [a for a in args if isinstance(a, torch.Tensor)]
            self.sent += [tuple(out.shape) for a in inputs if a.device.type == "cpu" and a.dim()]
        return out


def test_two_small_copies_a_batch_and_none_back(data: CachedDataset) -> None:
    trial = opened(data, torch.device("meta"))
    for epoch in range(2):
        with Copies() as copies:
            batches = list(trial.train_batches(epoch, 16))
        assert len(batches) == 5
        assert batches[0].images.shape == (8, 3, 16, 16)
        # boxes and their scales, and who is flipped; the labels of the epoch; once the constants
        constants = [(3,), (3,)] if epoch == 0 else []
        assert sorted(copies.sent) == sorted([(40,), *constants, *[(8, 8), (8,)] * 5])


def test_evaluation_sends_its_images_once(data: CachedDataset) -> None:
    trial = opened(data, torch.device("meta"))
    with Copies() as copies:
        assert [valid for _, _, valid in trial.eval_batches()] == [8, 8, 6]
    assert copies.sent
    with Copies() as copies:
        list(trial.eval_batches())
    assert copies.sent == []


def test_launches_do_not_grow_with_the_batch(data: CachedDataset) -> None:
    counts = []
    for batch in (8, 40):
        crop, store = random_resized_crop(Crop()), Resident(data.train, torch.device("meta"))
        (images,) = store.batches([np.arange(batch)])
        with Copies() as copies:
            crop.apply(images, np.full((batch, crop.draws), 0.5), 16)
        counts.append(copies.operations.total())
    assert counts[0] == counts[1] < 150


def test_images_that_do_not_fit_are_sent(
    data: CachedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("meta")
    assert isinstance(image_store(data.train, device), Resident)
    monkeypatch.setattr("ablate.data.device_copy.fits", lambda needed, device: False)
    store = image_store(data.train, device)
    assert isinstance(store, Sent)
    with Copies() as copies:
        assert [len(images) for images in store.batches([np.arange(8), np.arange(3)])] == [8, 3]
    assert copies.sent == []  # a thread sends them


def test_normalise_travels_without_its_constants() -> None:
    once = Normalise(MEAN, STD)
    images = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    expected = (images.float() - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(
        -1, 1, 1
    )
    for _ in range(2):
        assert torch.equal(once(images), expected)
    again = pickle.loads(pickle.dumps(once))
    assert again == once
    assert again._sent == {}
    assert torch.equal(again(images), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_nothing_waits_for_the_gpu(
    data: CachedDataset, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr("ablate.data.device_copy.fits", lambda needed, device: False)
    device = torch.device("cuda")
    trial = opened(data, device)
    on_cpu = list(opened(data, torch.device("cpu")).train_batches(1, 16))
    list(trial.train_batches(0, 16))  # the first epoch may: constants, pinned memory
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = list(trial.train_batches(1, 16))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for ours, theirs in zip(batches, on_cpu, strict=True):
        assert ours.labels.cpu().equal(theirs.labels)
        steps = (ours.images.cpu() - theirs.images) * torch.tensor(STD).view(-1, 1, 1)
        assert steps.abs().max() < 1.001  # of 255
    trial.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kept_files_are_decoded_for_the_gpu(
    data: CachedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("ABLATE_CACHE_LIMIT", "0")
    kept = ensure_cache(data.name, None, 8)
    assert kept.encoded
    monkeypatch.setattr("ablate.data.device_copy.fits", lambda needed, device: False)
    ours, theirs = (opened(each, torch.device("cuda")) for each in (kept, data))
    for a, b in zip(ours.train_batches(0, 16), theirs.train_batches(0, 16), strict=True):
        assert torch.equal(a.images, b.images)
    ours.close()


def test_images_stay_for_the_next_trial_unless_someone_changed_them(data: CachedDataset) -> None:
    cpu, ids = torch.device("cpu"), [np.array([5, 0, 7])]

    def images(split: Any) -> tuple[int, list[torch.Tensor]]:
        (batch,) = Resident(split, cpu, keep=True).batches(ids)
        return batch.buffer.data_ptr(), [batch[i] for i in range(3)]

    forget()
    try:
        expected = [
            torch.from_numpy(data.train.image(i).copy()).permute(2, 0, 1) for i in (5, 0, 7)
        ]
        first, made = images(data.train)
        again, same = images(data.train)
        assert again == first
        for batch in (made, same):
            assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))
        assert kept_bytes() == data.train.native_bytes(data.train.ids)
        made[1][0, 0, 0] ^= 1  # as an augmentation that writes into what it is given
        _, fresh = images(data.train)
        assert all(torch.equal(a, b) for a, b in zip(fresh, expected, strict=True))
        limited = data.limited(20).train
        images(limited)
        assert kept_bytes() == limited.native_bytes(limited.ids)  # one data set at a time
    finally:
        forget()
    assert kept_bytes() == 0
