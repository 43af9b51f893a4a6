"""Targets that tell no class from another, against losses written out in plain torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from ablate.core.rng import Draws
from ablate.core.trial import DatasetRef, Numerics, Trial
from ablate.errors import AblateError, NoEffect
from ablate.planning.preflight import check_effects
from ablate.planning.targets import check_targets
from tests.helpers.installed import CATALOGUE
from tests.helpers.support import recipe
from tests.helpers.tiny_studies import spec, study


def trial(*named: tuple[str, dict[str, Any]], classes: int = 10, **settings: Any) -> Trial:
    tricks = [spec(name, **given) for name, given in named]
    ref = DatasetRef(name="digits", fingerprint="x", decoder="d", num_classes=classes)
    return Trial(
        recipe=recipe(**settings), dataset=ref, tricks=tuple(tricks), numerics=Numerics(), seed=0
    )


def smoothed(epsilon: float, classes: int = 10) -> torch.Tensor:
    return (1 - epsilon) * one_hot(torch.arange(classes), classes) + epsilon / classes


@pytest.mark.parametrize(
    ("epsilon", "threshold", "empty"),
    [
        (0.1, 0.95, True),  # 0.91 and 0.01: none is above
        (0.1, 0.9, False),
        (0.1, 0.0, True),  # all are
        (0.1, 0.005, True),
        (0.1, 0.02, False),
        (0.0, 0.0, False),
    ],
)
def test_thresholds_of_smoothed_targets(epsilon: float, threshold: float, empty: bool) -> None:
    logits = torch.zeros(10, 10, requires_grad=True)
    above = (smoothed(epsilon) > threshold).float()
    loss = binary_cross_entropy_with_logits(logits, above, reduction="sum")
    [gradient] = torch.autograd.grad(loss, logits)
    assert all(row.unique().numel() == 1 for row in gradient) == empty
    made = trial(("label_smoothing", {"epsilon": epsilon}), ("bce_loss", {"threshold": threshold}))
    if empty:
        named = f"label_smoothing.epsilon {epsilon:g} and bce_loss.threshold {threshold:g} no label"
        with pytest.raises(AblateError, match=named) as caught:
            check_targets(study(made))
        assert caught.value.exit_code == 2
    else:
        assert check_targets(study(made)) == []


def test_mixing_below_a_threshold_is_told_with_its_share_of_batches() -> None:
    """λ ~ U(0, 1) for α = 1: both λ and 1 − λ are at most 0.7 in 40% of batches."""
    made = trial(("mixup", {"alpha": 1.0}), ("bce_loss", {"threshold": 0.7}))
    [said] = check_targets(study(made))
    share = int(said.split("about ")[1].split("%")[0])
    assert stats.binomtest(round(4 * share), 400, 0.4).pvalue > 1e-3
    assert "of the batches that mixup mixes" in said
    usual = trial(("mixup", {"alpha": 1.0}), ("cutmix", {}), ("bce_loss", {"threshold": 0.2}))
    assert check_targets(study(usual)) == []


@pytest.mark.parametrize(
    ("epsilon", "classes", "message"),
    [
        (0.9, 10, "every class has the same target"),
        (0.95, 10, "another class than the true one has the largest target"),
        (0.5, 2, "every class has the same target"),
    ],
)
def test_smoothing_over_the_other_classes_has_an_end(
    epsilon: float, classes: int, message: str
) -> None:
    own, other = 1 - epsilon, epsilon / (classes - 1)
    assert own <= other + 1e-9
    made = trial(("label_smoothing", {"epsilon": epsilon, "form": "others"}), classes=classes)
    with pytest.raises(AblateError, match=message):
        check_targets(study(made))
    less = trial(("label_smoothing", {"epsilon": epsilon - 0.1, "form": "others"}), classes=classes)
    assert check_targets(study(less)) == []


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_batch_of_one_has_nobody_to_mix_with(name: str) -> None:
    trick = CATALOGUE.load(name).cls()
    mixer = trick.batch_mixers()
    images, targets = torch.rand(1, 3, 8, 8), torch.rand(1, 10)
    mixed = mixer.apply(images.clone(), targets.clone(), Draws("test"))
    torch.testing.assert_close(mixed, (images, targets))
    with pytest.raises(NoEffect, match="at batch_size 1 an image is mixed with itself"):
        trick.preflight(trial((name, {}), batch_size=1))
    trick.preflight(trial((name, {}), batch_size=2))
    with pytest.raises(AblateError, match=f"'{name}' has no effect: at batch_size 1"):
        check_effects(study(trial((name, {}), batch_size=1)))
    bundled = trial((name, {}), ("label_smoothing", {}), batch_size=1)
    specs = tuple(one.model_copy(update={"bundle": "both"}) for one in bundled.tricks)
    notes = check_effects(study(bundled.model_copy(update={"tricks": specs})))
    assert notes == [f"both: {name} changes nothing: at batch_size 1 an image is mixed with itself"]
