"""progressive_resizing and test_resolution: sizes by arithmetic, and the images that are made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ablate.data.cache import ensure_cache
from ablate.data.loader import open_data
from ablate.errors import NoEffect
from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks, resolve_recipe
from ablate_tricks.progressive_resizing import ProgressiveResizing
from ablate_tricks.test_resolution import TestResolution as LargerEvaluation
from tests.helpers.support import CPU, Memory, recipe, run, same, weights


def sizes(image_size: int, epochs: int, **settings: Any) -> list[int]:
    hooks = Hooks([ProgressiveResizing(**settings)])
    made = recipe(image_size=image_size, epochs=epochs)
    forward = [hooks.train_size(made, epoch) for epoch in range(epochs)]
    assert [hooks.train_size(made, epoch) for epoch in reversed(range(epochs))] == forward[::-1]
    return forward


def test_sizes_by_hand() -> None:
    # 160·(0.5 + 0.5·t), t = epoch/6 until 6 of 8: 80, 93.3, 106.7, 120, 133.3, 146.7, 160, 160
    assert sizes(160, 8, step=16) == [80, 96, 112, 128, 144, 160, 160, 160]
    assert sizes(160, 8, step=1) == [80, 94, 107, 120, 134, 147, 160, 160]
    assert sizes(224, 4, start=0.5, until=0.5, step=32) == [128, 192, 224, 224]
    assert sizes(8, 2, step=4) == [4, 8]
    assert sizes(160, 2, start=0.8, until=0.5, step=16) == [128, 160]


@pytest.mark.parametrize("step", [1, 7, 16, 32])
@pytest.mark.parametrize("start", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("until", [0.3, 0.75, 1.0])
def test_sizes_grow_in_whole_steps_to_the_recipes(step: int, start: float, until: float) -> None:
    for full in (160, 224, 299):
        found = sizes(full, 20, start=start, until=until, step=step)
        assert found == sorted(found)
        assert all((full - size) % step == 0 for size in found)
        exact = [full * (start + (1 - start) * min(e / (until * 20), 1)) for e in range(20)]
        assert all(-1e-6 < s - x < step - 1e-6 for s, x in zip(found, exact, strict=True))


def test_a_step_larger_than_the_difference_is_refused() -> None:
    with pytest.raises(NoEffect, match="8 pixels less 50%"):
        run([ProgressiveResizing(step=16)])
    assert "no effect" in ProgressiveResizing(step=16).warnings(recipe())[0]


def test_it_says_when_the_end_is_not_at_full_size() -> None:
    made = recipe(image_size=160, epochs=4)
    assert ProgressiveResizing(step=16).warnings(made) == []
    assert "last epoch trains at 144" in ProgressiveResizing(step=16, until=1).warnings(made)[0]


def test_the_model_is_given_images_of_these_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    call = torch.nn.Conv2d.forward

    def watched(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if self.in_channels == 3 and torch.is_grad_enabled():
            seen.append(tuple(x.shape))
        return call(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", watched)
    run([ProgressiveResizing(step=2)], limit=16, epochs=4)
    assert [shape[-2:] for shape in seen] == [(4, 4), (6, 6), (8, 8), (8, 8)]


def test_a_resumed_training_goes_on_at_its_size() -> None:
    whole, memory = run([ProgressiveResizing(step=2)], limit=16, epochs=4)
    resumed, _ = run(
        [ProgressiveResizing(step=2)], Memory(saved=memory.states[1]), limit=16, epochs=4
    )
    assert same(weights(whole), weights(resumed))
    assert "weights" in check_trick(ProgressiveResizing, step=2)


@pytest.mark.parametrize(
    ("factor", "size", "resize"), [(1.25, 200, 229), (1.286, 206, 235), (0.5, 80, 92)]
)
def test_evaluation_sizes_by_hand(factor: float, size: int, resize: int) -> None:
    made = recipe(image_size=160)
    changed = resolve_recipe([LargerEvaluation(factor=factor)], made)
    assert (changed.eval_size, changed.eval_resize) == (size, resize)
    assert changed == made.model_copy(update={"eval_size": size, "eval_resize": resize})


def test_every_factor_leaves_a_crop_that_fits() -> None:
    for size in (1, 2, 7, 32, 224):
        for percent in range(1, 400, 7):
            changed = resolve_recipe(
                [LargerEvaluation(factor=percent / 100)], recipe(image_size=size)
            )
            assert changed.eval_size is not None
            assert changed.eval_resize is not None
            assert 1 <= changed.eval_size <= changed.eval_resize


def test_only_the_evaluation_changes() -> None:
    changed = resolve_recipe([LargerEvaluation(factor=1.5)], recipe())
    data = open_data(
        ensure_cache("digits", None, 8).limited(40),
        changed,
        Hooks([]).augmentations(changed)[0],
        0,
        CPU,
    )
    assert next(iter(data.eval_batches()))[0].shape[-2:] == (12, 12)
    plain, before = run(limit=32, epochs=1)
    other, after = run(
        limit=32, epochs=1, eval_size=changed.eval_size, eval_resize=changed.eval_resize
    )
    assert same(weights(plain), weights(other))
    assert before.tested is not None
    assert after.tested is not None
    assert (before.tested.scores != after.tested.scores).any()
