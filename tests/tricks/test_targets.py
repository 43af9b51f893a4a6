"""label_smoothing and mixup against torch, torchvision and timm, and that they commute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from ablate.core.hook_types import Mixer
from ablate.core.rng import Draws
from ablate.tricks.hooks import Hooks
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup

K, B = 10, 32
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(B, K, generator=GENERATOR)
LABELS = torch.randint(K, (B,), generator=GENERATOR)
IMAGES = torch.randn(B, 3, 8, 8, generator=GENERATOR)


def smoothed_loss(trick: LabelSmoothing) -> Tensor:
    hooks = Hooks([trick])
    loss: Tensor = hooks.compute_loss(LOGITS, hooks.encode_targets(LABELS, K))
    return loss


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_smoothing_is_torchs(epsilon: float) -> None:
    expected = torch.nn.CrossEntropyLoss(label_smoothing=epsilon)(LOGITS, LABELS)
    torch.testing.assert_close(smoothed_loss(LabelSmoothing(epsilon=epsilon)), expected)


def test_the_papers_form_gives_the_others_an_equal_share() -> None:
    targets = Hooks([LabelSmoothing(epsilon=0.1, form="others")]).encode_targets(LABELS, K)
    assert targets[0, LABELS[0]].item() == pytest.approx(0.9)
    assert targets[0, (LABELS[0] + 1) % K].item() == pytest.approx(0.1 / 9)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.1 * K / (K - 1))(LOGITS, LABELS)
    torch.testing.assert_close(smoothed_loss(LabelSmoothing(epsilon=0.1, form="others")), expected)


def mixer(alpha: float) -> Mixer:
    from ablate.core.recipe import Recipe

    [made] = Hooks([Mixup(alpha=alpha)]).batch_mixers(Recipe(model="resnet8"))
    assert isinstance(made, Mixer)
    return made


def test_mixup_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    lam = Draws(0, "x").beta(0.2, 0.2)
    theirs = v2.MixUp(alpha=0.2, num_classes=K)
    monkeypatch.setattr(theirs._dist, "sample", lambda shape=(): torch.tensor([lam]))
    expected_images, expected_targets = theirs(IMAGES, LABELS)
    images, targets = mixer(0.2).apply(IMAGES, one_hot(LABELS, K).float(), Draws(0, "x"))
    torch.testing.assert_close(images, expected_images)
    torch.testing.assert_close(targets, expected_targets)


def test_lambda_is_beta_and_one_per_batch() -> None:
    targets = torch.eye(2)
    drawn = []
    for seed in range(1500):
        _, mixed = mixer(0.4).apply(torch.zeros(2, 1, 1, 1), targets, Draws(seed, "x"))
        assert mixed[0, 0] == mixed[1, 1]
        drawn.append(mixed[0, 0].item())
    assert stats.kstest(np.array(drawn), "beta", args=(0.4, 0.4)).pvalue > 1e-3


def test_mixup_leaves_the_given_batch_as_it_was() -> None:
    images, targets = IMAGES.clone(), one_hot(LABELS, K).float()
    mixer(0.2).apply(images, targets, Draws(0, "x"))
    assert torch.equal(images, IMAGES)
    assert torch.equal(targets, one_hot(LABELS, K).float())


@pytest.mark.parametrize("form", ["uniform", "others"])
def test_smoothing_and_mixing_commute(form: str) -> None:
    """An interpolated-loss shortcut would drop the smoothing on half of the loss."""
    smooth = Hooks([LabelSmoothing(epsilon=0.1, form=form)])
    _, mixed_after = mixer(0.2).apply(IMAGES, smooth.encode_targets(LABELS, K), Draws(1, "x"))
    _, mixed = mixer(0.2).apply(IMAGES, one_hot(LABELS, K).float(), Draws(1, "x"))
    epsilon = 0.1 * (K / (K - 1) if form == "others" else 1)
    torch.testing.assert_close(mixed_after, (1 - epsilon) * mixed + epsilon / K)


def test_both_together_are_timms() -> None:
    from timm.data.mixup import mixup_target

    smooth = Hooks([LabelSmoothing(epsilon=0.1)])
    targets = torch.flip(smooth.encode_targets(LABELS, K), (0,))  # timm pairs i with B − 1 − i
    lam = Draws(0, "y").beta(0.2, 0.2)
    expected = mixup_target(LABELS, K, lam, smoothing=0.1)
    ours = smooth.encode_targets(LABELS, K) * lam + targets * (1 - lam)
    torch.testing.assert_close(ours, expected)
