"""What differs between two trials, setting by setting."""

from __future__ import annotations

from typing import Any

import pytest

from ablate.core.recipe import Recipe
from ablate.core.trial import DatasetRef, Numerics, Trial, TrickSpec
from ablate.report.tables.settings import changed_settings


def trick(name: str, behaviour: str = "v1", **params: Any) -> TrickSpec:
    return TrickSpec(name=name, label=name, source="somewhere", params=params, behaviour=behaviour)


DATA = {"name": "imagenette", "variant": "160", "fingerprint": "a" * 64, "decoder": "d1"}


def trial(*tricks: TrickSpec, data: dict[str, Any] | None = None, **more: Any) -> Trial:
    recipe = Recipe(**({"model": "resnet50", "image_size": 160} | more.pop("recipe", {})))
    settings = {"numerics": Numerics(), "seed": 0} | more
    ref = DatasetRef(**(DATA | {"num_classes": 10} | (data or {})))
    return Trial(recipe=recipe, dataset=ref, tricks=tricks, **settings)


BASE = trial(trick("mixup", alpha=0.2))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (trial(trick("mixup", alpha=0.2)), []),
        (trial(), ["trick: mixup (alpha 0.2) → none"]),
        (
            trial(trick("mixup", alpha=0.2), trick("zero_gamma")),
            ["trick: none → zero_gamma"],
        ),
        (trial(trick("mixup", alpha=0.4)), ["mixup alpha: 0.2 → 0.4"]),
        (trial(trick("mixup", "v2", alpha=0.2)), ["mixup, its code: v1 → v2"]),
        (
            trial(trick("mixup", alpha=0.2), recipe={"batch_size": 1024, "nesterov": False}),
            ["batch size: 64 → 1024", "nesterov: true → false"],
        ),
        (
            trial(trick("mixup", alpha=0.2), recipe={"schedule": {"milestones": (0.3, 0.6)}}),
            ["schedule.milestones: (0.25, 0.5, 0.75) → (0.3, 0.6)"],
        ),
        (
            trial(
                trick("mixup", alpha=0.2),
                recipe={"image_size": 224, "eval_size": 224, "eval_resize": 256},
            ),
            ["image size: 160 → 224"],
        ),
        (
            trial(trick("mixup", alpha=0.2), numerics=Numerics.named("fast", "cpu")),
            ["numerics: exact → fast"],
        ),
        (
            trial(trick("mixup", alpha=0.2), data={"name": "imagewoof", "fingerprint": "b" * 64}),
            ["data set: imagenette (160) → imagewoof (160)"],
        ),
        (
            trial(trick("mixup", alpha=0.2), data={"fingerprint": "b" * 64, "limit": 1000}),
            ["imagenette, its images: aaaaaaaa → bbbbbbbb", "limit: all → 1,000 images a split"],
        ),
        (trial(trick("mixup", alpha=0.2), teacher="c" * 64), ["teacher: none → cccccc"]),
        (trial(trick("mixup", alpha=0.2), engine=9), ["engine: 1 → 9"]),
    ],
)
def test_only_what_differs_is_said(other: Trial, said: list[str]) -> None:
    found = changed_settings(BASE, other)
    assert [f"{change.name}: {change.text}" for change in found] == said
    # what is keyed and differs is said, and what is said changes the key
    assert bool(found) == (other.key != BASE.key)
    back = changed_settings(other, BASE)
    assert [(c.before, c.after) for c in found] == [(c.after, c.before) for c in back]


def test_the_seed_is_said_of_trials_only() -> None:
    other = trial(trick("mixup", alpha=0.2), seed=3)
    assert changed_settings(BASE, other) == []
    assert [c.text for c in changed_settings(BASE, other, seeds=True)] == ["0 → 3"]


def test_one_and_one_point_oh_are_one_setting() -> None:
    a, b = trial(trick("x", alpha=1)), trial(trick("x", alpha=1.0))
    assert a.key == b.key
    assert changed_settings(a, b) == []


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (1, 1.0, ["top keep: 1 → 1.0"]),
        (1.0, 1.0, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ['top keep: {"a": 1, "b": 2} → {"b": 2, "a": 1}']),
        (1.0, None, ["trick: top (keep 1.0) → none"]),
    ],
)
def test_what_is_keyed_as_it_is_written_is_said_as_it_is_written(
    one: Any, other: Any, said: list[str]
) -> None:
    def keeping(value: Any) -> Trial:
        spec = trick("top", keep=value).model_copy(update={"exact": ("keep",)})
        return trial() if value is None else trial(spec)

    found = changed_settings(keeping(one), keeping(other))
    assert [f"{change.name}: {change.text}" for change in found] == said
    assert (keeping(one).key == keeping(other).key) == (not said)
