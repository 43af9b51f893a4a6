"""Every distinct variant of the Imagenette editions trains two batches of real images.

In this process, through the engine and the data path of a run: files, decoded cache, crops. A plain
run takes the few variants that have every model and every configured trick among them, `--long`
takes all. Processor times are in the captured output (`-rP`).
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import PrivateAttr
from torch import nn

from ablate import Trick, hookimpl
from ablate.core.hook_types import Batch, Run
from ablate.data.cache import ensure_cache, open_cache
from ablate.data.dataset import CachedDataset
from ablate.data.loader import open_data
from ablate.engine.loop import train
from ablate.errors import AblateError, Diverged
from ablate.execution.trial_process import set_numerics
from ablate.tricks.construct import construct
from tests.helpers.data_samples import copy_few
from tests.helpers.editions import Variant, cover, names_of, variants

if TYPE_CHECKING:  # pytest would collect it
    from ablate.engine.evaluate import Tested

CPU = torch.device("cpu")
STEPS = 2
TRAIN, TEST = 3, 2  # images of each class
LAYOUT = "imagenette2-160"


@pytest.fixture(scope="module")
def root(imagenette_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root with a few of the real files of every class, and a cache of their own."""
    made = tmp_path_factory.mktemp("few")
    copy_few(imagenette_root, LAYOUT, made, TRAIN, TEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(made / "decoded"))
        yield made


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Variant]:
    return variants(root)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """FP16's loss scale begins where a longer training gets to.

    From 65,536 the first steps overflow on batches as small as these, and are left out as they
    should be: two of them would be all.
    """
    monkeypatch.setattr("ablate.engine.precision._INITIAL", 16.0)


class Watch(Trick):
    """Sees the weights before the first step, and every batch; no weight changes by it.

    Running statistics are the plain mean of the two batches'. At a momentum of 0.1 they would be
    four fifths of what they began as, and activations would grow from layer to layer in evaluation
    until FP16 overflows, which a longer training has behind it before its first epoch ends.
    """

    _before: str = PrivateAttr("")
    _ids: list[int] = PrivateAttr(default_factory=list)
    _plain: list[bool] = PrivateAttr(default_factory=list)

    @hookimpl
    def on_trial_start(self, run: Run) -> None:
        self._before = digest(run.model)
        for module in run.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None

    @hookimpl
    def on_step_end(self, run: Run, batch: Batch) -> None:
        self._ids += batch.ids.tolist()
        size = run.recipe.image_size
        shape = (run.recipe.batch_size, 3, size, size)
        self._plain.append(batch.images.shape == shape and bool(batch.images.isfinite().all()))


class Memory:
    """A recorder that keeps the last epoch's record and, of a teacher, the model."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def resume(self) -> None:
        return None

    def epoch(self, record: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        self.records.append(record)

    def finished(self, run: Run, tested: Tested, model: nn.Module) -> None:
        self.tested, self.model = tested, model

    def check(self, run: Run) -> None:
        pass


@dataclass(frozen=True)
class Trained:
    """weights: digests before and after. faults: what should have been otherwise."""

    variant: Variant
    before: str
    after: str
    seconds: float
    faults: tuple[str, ...]


def digest(model: nn.Module) -> str:
    """Of the parameters, bit for bit, buffers left out: batch norm's move without any learning."""
    made = hashlib.blake2b()
    for name, value in model.named_parameters():
        made.update(name.encode())
        made.update(value.detach().contiguous().numpy().data)
    return made.hexdigest()


def train_all(chosen: Mapping[str, Variant], root: Path) -> list[Trained]:
    torch.set_num_threads(1)
    taught = {variant.trial.teacher for variant in chosen.values()}
    teachers: dict[str | None, nn.Module] = {}
    done = []
    for key, variant in chosen.items():
        trained, model = train_one(variant, root, teachers.get(variant.trial.teacher))
        done.append(trained)
        if key in taught:
            teachers[key] = model.eval().requires_grad_(False)
        del model
        gc.collect()  # the loop's closures are cycles
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{trained.seconds:6.1f} s  {peak:4.1f} GiB  {variant.name}")
    total = sum(trained.seconds for trained in done)
    print(f"{total:6.1f} s in all, {len(done)} variants")
    return done


def train_one(variant: Variant, root: Path, teacher: nn.Module | None) -> tuple[Trained, nn.Module]:
    trial, began = variant.trial, time.process_time()
    assert (teacher is None) == (trial.teacher is None)
    set_numerics(trial.numerics)
    watch, memory = Watch(), Memory()
    cached = open_cache(trial.dataset, root)
    try:
        run = train(
            trial,
            [*construct(trial.tricks), watch],
            lambda augmentations: open_data(cached, trial.recipe, augmentations, trial.seed, CPU),
            CPU,
            memory,
            teacher,
        )
    except AblateError as error:
        raise AssertionError(f"{variant.name}: {error}") from error
    except Diverged as error:
        raise AssertionError(f"{variant.name}: {error}: {memory.records}") from error
    after = digest(run.model)
    faults = []

    def expect(fine: bool, what: str) -> None:
        if not fine:
            faults.append(f"{variant.name}: {what}")

    [record] = memory.records
    metrics = record["metrics"]
    expect(run.step == record["steps"] == STEPS, f"{run.step} steps")
    expect(all(watch._plain) and len(watch._plain) == STEPS, "batches of another form")
    used = set(watch._ids)
    expect(len(used) == STEPS * trial.recipe.batch_size, "an image twice in an epoch")
    expect(used <= set(cached.train.ids.tolist()), "images from elsewhere")
    expect(math.isfinite(metrics["train_loss"]), f"training loss {metrics['train_loss']}")
    expect(math.isfinite(metrics["loss"]), f"test loss {metrics['loss']}")
    expect(0 <= metrics["top1"] <= metrics["top5"] <= 1, f"accuracies {metrics}")
    labels = cached.eval.labels[cached.eval.ids]
    expect(bool((memory.tested.labels == labels).all()), "labels of other images")
    hits = (memory.tested.scores.argmax(1) == labels).mean()
    expect(metrics["top1"] == pytest.approx(hits), f"top-1 {metrics['top1']}, not {hits}")
    expect(watch._before != after, "no weight changed")
    trained = Trained(variant, watch._before, after, time.process_time() - began, tuple(faults))
    return trained, memory.model


def check(done: list[Trained]) -> None:
    """All faults at once; then, that variants which differ have different weights."""
    assert [fault for trained in done for fault in trained.faults] == []
    alike = [
        (a.variant.name, b.variant.name)
        for a, b in itertools.combinations(done, 2)
        if a.after == b.after
    ]
    expected = [
        (a.variant.name, b.variant.name)
        for a, b in itertools.combinations(done, 2)
        if same_in_two_steps(a.variant, b.variant)
    ]
    assert alike == expected


def same_in_two_steps(a: Variant, b: Variant) -> bool:
    """Whether nothing can be different yet.

    Of two steps, warmup has one at most, and its last is at the full rate; a step schedule then
    goes on as it would have. (Cosine starts afresh after a warmup, which is a difference.)
    """
    if a.trial.recipe != b.trial.recipe or a.trial.teacher != b.trial.teacher:
        return False
    one, other = names_of(a.trial), names_of(b.trial)
    if "cosine" in one or "cosine" in other:
        return False
    one.pop("warmup", None)
    other.pop("warmup", None)
    return one == other


def test_the_cache_has_the_pixels_of_the_files(
    root: Path, imagenette_root: Path, found: dict[str, Variant]
) -> None:
    ref = next(iter(found.values())).trial.dataset
    cached: CachedDataset = open_cache(ref, root)
    assert len(cached.train) == len(cached.eval) == ref.limit
    assert sorted(cached.train.labels[cached.train.ids]) == list(range(10))
    for split in (cached.train, cached.eval):
        for number in split.ids.tolist():
            with Image.open(imagenette_root / LAYOUT / split.paths[number]) as image:
                pixels = np.asarray(image.convert("RGB"))
            assert np.array_equal(split.image(number), pixels)
    assert ensure_cache("imagenette", root, 160).folder == cached.folder, "decoded once"


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("settled")
def test_every_model_and_configured_trick_trains_two_batches(
    root: Path, found: dict[str, Variant], long: bool
) -> None:
    if long:
        pytest.skip("the next test trains these and all others")
    chosen = cover(found)
    parts = frozenset().union(*(variant.parts for variant in found.values()))
    assert frozenset().union(*(variant.parts for variant in chosen.values())) == parts
    check(train_all(chosen, root))


@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("settled")
def test_every_variant_trains_two_batches(
    root: Path, found: dict[str, Variant], long: bool
) -> None:
    if not long:
        left = len(found) - len(cover(found))
        pytest.skip(f"{left} of {len(found)} variants are left out; train all with --long")
    check(train_all(found, root))
