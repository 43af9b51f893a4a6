"""trivial_augment, rand_augment and auto_augment against torchvision's, given the same draws."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from timm.data import auto_augment as timm_policies
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from ablate import Augmentation, Trick
from ablate.core import rng
from ablate.data.augment_policies import OPERATIONS, SIGNED, operate
from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks
from ablate_tricks import auto_augment, rand_augment, trivial_augment
from ablate_tricks.auto_augment import AutoAugment, learned
from ablate_tricks.rand_augment import RandAugment
from ablate_tricks.trivial_augment import TrivialAugment
from tests.helpers.support import recipe, run, same, weights

B, SIZE = 48, 40
Row = list[float]
TRICKS: list[Trick] = [
    TrivialAugment(),
    RandAugment(),
    RandAugment(ops=3, magnitude=25),
    AutoAugment(),
    AutoAugment(policy="cifar10"),
    AutoAugment(policy="svhn"),
]


def photographs() -> Tensor:
    """Smooth colours with some noise: equalising or sharpening pure noise shows little."""
    random = np.random.default_rng(0)
    waves = random.uniform(-3, 3, (B, 3, 4, 2))
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2, SIZE)] * 2), 0)
    smooth = np.cos(np.einsum("bcwk,kyx->bcwyx", waves, grid) + waves[..., :1, None]).mean(2)
    values = 128 + 110 * smooth + random.normal(0, 8, smooth.shape)
    return torch.from_numpy(values.clip(0, 255).astype(np.uint8))


IMAGES = photographs()


def augmentation(trick: Trick) -> Augmentation:
    [_, [made]] = Hooks([trick]).augmentations(recipe())
    assert isinstance(made, Augmentation)
    assert made.slot == "policy"
    return made


def uniforms(made: Augmentation, count: int = B) -> NDArray[np.float64]:
    return rng.uniforms(rng.stream_key(0, "test", made.name), np.arange(count), made.draws)


class Forced:
    """Stands for torch.randint and torch.rand in torchvision's classes; the draws are ours."""

    def __init__(self) -> None:
        self.drawn: Iterator[float] = iter(())

    def randint(self, high: int, size: tuple[int, ...]) -> Tensor:
        return torch.tensor(int(next(self.drawn) * high))

    def rand(self, size: tuple[int, ...]) -> Tensor:
        return torch.tensor(next(self.drawn), dtype=torch.float64)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Forced:
    draws = Forced()
    monkeypatch.setattr(torch, "randint", draws.randint)
    monkeypatch.setattr(torch, "rand", draws.rand)
    return draws


def check(
    trick: Trick, theirs: Callable[[Tensor], Tensor], forced: Forced, order: Callable[[Row], Row]
) -> None:
    """Every image as torchvision's class makes it. `order`: our draws as it consumes them."""
    made = augmentation(trick)
    u = uniforms(made)
    ours = made.apply(IMAGES, u, SIZE)
    changed = 0
    for image, row, mine in zip(IMAGES, u.tolist(), ours, strict=True):
        forced.drawn = iter(order(row))
        assert torch.equal(mine, theirs(image))
        changed += not torch.equal(mine, image)
    assert changed > B / 2


def test_trivial_augment_is_torchvisions(forced: Forced) -> None:
    def order(row: Row) -> Row:
        operation = OPERATIONS[int(row[0] * 14)]
        plain = operation in ("Identity", "AutoContrast", "Equalize")
        return [row[0]] + ([] if plain else [row[1]]) + ([row[2]] if operation in SIGNED else [])

    check(TrivialAugment(), v2.TrivialAugmentWide(), forced, order)


@pytest.mark.parametrize(("ops", "magnitude"), [(1, 30), (2, 9), (3, 14)])
def test_rand_augment_is_torchvisions(ops: int, magnitude: int, forced: Forced) -> None:
    def order(row: Row) -> Row:
        taken: Row = []
        for i in range(0, 2 * ops, 2):
            signed = OPERATIONS[int(row[i] * 14)] in SIGNED
            taken += row[i : i + 2] if signed else row[i : i + 1]
        return taken

    theirs = v2.RandAugment(num_ops=ops, magnitude=magnitude)
    check(RandAugment(ops=ops, magnitude=magnitude), theirs, forced, order)


@pytest.mark.parametrize("policy", ["imagenet", "cifar10", "svhn"])
def test_auto_augment_is_torchvisions(policy: str, forced: Forced) -> None:
    trick = AutoAugment.model_validate({"policy": policy})

    def order(row: Row) -> Row:
        pair = learned(policy)[int(row[0] * 25)]
        taken = [row[0]]
        for (operation, probability, _), acts, sign in zip(pair, row[1::2], row[2::2], strict=True):
            taken += [acts, sign] if acts <= probability and operation in SIGNED else [acts]
        return taken

    check(trick, v2.AutoAugment(v2.AutoAugmentPolicy(policy)), forced, order)


def test_the_operations_are_those_of_the_older_interface_too() -> None:
    """torchvision has each of them twice; two of them scale in another order before cutting off."""
    from torchvision.transforms.autoaugment import InterpolationMode, _apply_op

    magnitudes = {"ShearX": 0.2, "ShearY": -0.3, "TranslateX": 7.6, "TranslateY": -5.0}
    magnitudes |= {"Rotate": 23.0, "Posterize": 3.0, "Solarize": 0.4, "Invert": 0.0}
    for operation in (*OPERATIONS, "Invert"):
        magnitude = magnitudes.get(operation, -0.45)
        given = 255 * magnitude if operation == "Solarize" else magnitude
        expected = _apply_op(IMAGES, operation, given, InterpolationMode.NEAREST, None)
        off = (operate(IMAGES, operation, magnitude).int() - expected.int()).abs().max()
        assert off <= (1 if operation in ("Color", "AutoContrast") else 0), operation


def test_the_learned_policies_are_the_older_interfaces() -> None:
    for policy in v1.AutoAugmentPolicy:
        assert list(learned(policy.value)) == v1.AutoAugment(policy).policies
        assert len(learned(policy.value)) == 25


@pytest.mark.parametrize("trick", TRICKS, ids=lambda t: t.describe())
def test_an_image_depends_on_its_own_draws_only(trick: Trick) -> None:
    made = pickle.loads(pickle.dumps(augmentation(trick)))
    u, before = uniforms(made), IMAGES.clone()
    together = made.apply(IMAGES, u, SIZE)
    assert torch.equal(IMAGES, before), "what it was given is written to"
    assert together.dtype == torch.uint8
    alone = [made.apply(IMAGES[i : i + 1], u[i : i + 1], SIZE) for i in range(B)]
    assert torch.equal(together, torch.cat(alone))


def test_operations_are_drawn_uniformly(monkeypatch: pytest.MonkeyPatch) -> None:
    made = augmentation(TrivialAugment())
    seen: list[tuple[str, float]] = []
    monkeypatch.setattr(
        "ablate_tricks.trivial_augment.apply_steps", lambda images, steps: seen.extend(steps)
    )
    made.apply(IMAGES, uniforms(made, 7000), SIZE)
    counts = [sum(name == each for name, _ in seen) for each in OPERATIONS]
    assert sum(counts) == 7000
    assert stats.chisquare(counts).pvalue > 1e-3
    angles = [magnitude / 135 for name, magnitude in seen if name == "Rotate"]
    assert len(set(angles)) == 61  # 31 magnitudes, 30 of them both ways
    levels = np.rint(np.abs(angles) * 30).astype(int)
    assert stats.chisquare(np.bincount(levels, minlength=31)).pvalue > 1e-3


@pytest.mark.parametrize("trick", TRICKS[:2] + TRICKS[3:4], ids=lambda t: t.describe())
def test_it_trains_and_keeps_the_contract(trick: Trick) -> None:
    plain, _ = run(limit=32, epochs=1)
    other, _ = run([type(trick)(**trick.model_dump())], limit=32, epochs=1)
    assert other.step == 2
    assert not same(weights(plain), weights(other))
    assert "weights" in check_trick(type(trick), **trick.model_dump())


def levels_of(policy: str) -> set[tuple[str, int]]:
    return {(name, level) for pair in learned(policy) for name, _, level in pair if level}


def test_what_a_level_of_auto_augment_is_in_timm() -> None:
    """As docs/tricks.md tells it: the same pairs, and other strengths."""
    theirs = timm_policies.auto_augment_policy_original(timm_policies._HPARAMS_DEFAULT)
    named = [[(o.name.replace("Original", ""), o.prob, o.magnitude) for o in p] for p in theirs]
    ours = [[(name, p, level) for name, p, level in pair] for pair in learned("imagenet")]
    for pair, other in zip(ours, named, strict=True):
        for (name, p, level), (their_name, their_p, their_level) in zip(pair, other, strict=True):
            assert (name, p) == (their_name, their_p)
            assert level in (their_level, None)  # of an operation that has none
    to_arg = timm_policies.LEVEL_TO_ARG

    def step(operation: str, level: int) -> float:
        return auto_augment.SPACE.step(operation, level, SIZE, negative=False)[1]

    used = {level for name, level in levels_of("imagenet") if name == "Posterize"}
    bits = {lv: (step("Posterize", lv), to_arg["PosterizeOriginal"](lv, {})[0]) for lv in used}
    assert bits == {5: (6, 6), 6: (5, 6), 7: (5, 6), 8: (4, 7)}
    assert to_arg["PosterizeIncreasing"](8, {})[0] == 1  # its policy "originalr"
    used = {level for name, level in levels_of("imagenet") if name == "Solarize"}
    over = {lv: (round(255 * step("Solarize", lv)), to_arg["Solarize"](lv, {})[0]) for lv in used}
    assert over == {3: (170, 76), 4: (142, 102), 5: (113, 128), 7: (57, 179), 8: (28, 204)}
    assert (1 + step("Color", 0), to_arg["Color"](0, {})[0]) == (1, 0.1)  # nothing; almost grey
    assert 1 + step("Color", 8) == pytest.approx(1.8)  # or 0.2
    assert to_arg["Color"](8, {})[0] == pytest.approx(1.54)  # always
    assert step("Rotate", 9) == 30
    assert abs(to_arg["Rotate"](9, {})[0]) == 27


def test_what_magnitude_9_of_rand_augment_is_in_timm() -> None:
    to_arg = timm_policies.LEVEL_TO_ARG

    def step(operation: str) -> float:
        return rand_augment.SPACE.step(operation, 9, SIZE, negative=False)[1]

    assert step("Posterize") == 7
    assert [to_arg[f"Posterize{inc}"](9, {})[0] for inc in ("", "Increasing")] == [3, 1]
    assert round(255 * step("Solarize"), 1) == 178.5
    assert [to_arg[f"Solarize{inc}"](9, {})[0] for inc in ("", "Increasing")] == [230, 26]
    assert step("Rotate") == pytest.approx(9)
    assert abs(to_arg["Rotate"](9, {})[0]) == 27
    assert 1 + step("Color") == pytest.approx(1.27)
    assert to_arg["Color"](9, {})[0] == pytest.approx(1.72)
    assert step("TranslateX") / SIZE == pytest.approx(0.3 * 150 / 331)
    assert abs(to_arg["TranslateXRel"](9, {})[0]) == pytest.approx(0.9 * 0.45)


def test_what_the_largest_magnitude_of_trivial_augment_is() -> None:
    """Against torchvision's table, at the end where the effects are largest."""
    theirs = v2.TrivialAugmentWide()._AUGMENTATION_SPACE
    for operation in ("Posterize", "Solarize", "Rotate", "ShearX", "TranslateX", "Color"):
        last = float(theirs[operation][0](31, SIZE, SIZE)[-1])
        ours = trivial_augment.WIDE.step(operation, 30, SIZE, negative=False)[1]
        assert ours == pytest.approx(last), operation
    assert trivial_augment.WIDE.step("Posterize", 30, SIZE, negative=False)[1] == 2
