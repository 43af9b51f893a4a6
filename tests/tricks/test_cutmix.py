"""cutmix against torchvision, and that it mixes labels by what was pasted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from ablate.core.hook_types import Mixer
from ablate.core.recipe import Recipe
from ablate.core.rng import Draws
from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.cutmix import Cutmix, box
from ablate_tricks.label_smoothing import LabelSmoothing
from tests.helpers.support import run, same, weights

K, B = 10, 8
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(B, 3, 17, 24, generator=GENERATOR)
LABELS = torch.randint(K, (B,), generator=GENERATOR)
TARGETS = one_hot(LABELS, K).float()


def mixer(**settings: float) -> Mixer:
    [made] = Hooks([Cutmix(**settings)]).batch_mixers(Recipe(model="resnet8"))
    assert isinstance(made, Mixer)
    return made


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_is_torchvisions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = mixer().apply(IMAGES, TARGETS, Draws(seed, "x"))

    draws = Draws(seed, "x")
    draws.uniform()  # whether the batch is mixed at all
    lam, x, y = draws.beta(1, 1), draws.integer(24), draws.integer(17)
    theirs = v2.CutMix(alpha=1.0, num_classes=K)
    monkeypatch.setattr(theirs._dist, "sample", lambda shape=(): torch.tensor(lam).double())
    centre = iter([x, y])
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor([next(centre)]))
    expected_images, expected_targets = theirs(IMAGES, LABELS)
    assert torch.equal(images, expected_images)
    torch.testing.assert_close(targets, expected_targets)


def mixed(seed: int, alpha: float) -> tuple[float, Tensor]:
    """(share of pixels kept, targets), of white images with black partners."""
    images = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])
    images, targets = mixer(alpha=alpha).apply(images, torch.eye(2), Draws(seed, "x"))
    return images[1].mean().item(), targets


@pytest.mark.parametrize("seed", range(20))
def test_the_label_is_worth_the_pixels_it_has(seed: int) -> None:
    share, targets = mixed(seed, 1.0)
    assert targets[1, 1].item() == pytest.approx(share)
    torch.testing.assert_close(targets.sum(1), torch.ones(2))


def test_lambda_before_the_border_is_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the centre held in the middle nothing is cut off: 1 − λ is the box's share."""
    monkeypatch.setattr(Draws, "integer", lambda self, high: high // 2)
    drawn = []
    for seed in range(800):
        left, top, right, bottom = box(Draws(seed, "x"), 0.7, 10_000, 10_000)
        drawn.append(1 - (right - left) * (bottom - top) / 1e8)
    assert stats.kstest(np.array(drawn), "beta", args=(0.7, 0.7)).pvalue > 1e-3


def test_p_is_the_share_of_mixed_batches() -> None:
    eye = torch.eye(2)
    act = mixer(p=0.25).apply
    images = torch.rand(2, 3, 64, 64, generator=GENERATOR)
    changed = sum(not torch.equal(act(images, eye, Draws(s, "p"))[1], eye) for s in range(1000))
    assert stats.binomtest(changed, 1000, 0.25).pvalue > 1e-3


def test_the_given_batch_stays_as_it_was() -> None:
    images, targets = IMAGES.clone(), TARGETS.clone()
    mixer().apply(images, targets, Draws(0, "x"))
    assert torch.equal(images, IMAGES)
    assert torch.equal(targets, TARGETS)


def test_smoothing_and_cutting_commute() -> None:
    smooth = Hooks([LabelSmoothing(epsilon=0.1)])
    _, cut_last = mixer().apply(IMAGES, smooth.encode_targets(LABELS, K), Draws(1, "x"))
    _, cut = mixer().apply(IMAGES, TARGETS, Draws(1, "x"))
    torch.testing.assert_close(cut_last, 0.9 * cut + 0.1 / K)


def test_it_trains_and_keeps_the_contract() -> None:
    plain, _ = run(limit=32, epochs=1)
    cut, _ = run([Cutmix()], limit=32, epochs=1)
    assert cut.step == 2
    assert not same(weights(plain), weights(cut))
    assert "weights" in check_trick(Cutmix)
