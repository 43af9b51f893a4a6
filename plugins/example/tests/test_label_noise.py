"""The contract, and what the trick is meant to do, against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ablate.testing import Hooks, check_trick, train_tiny
from ablate_example.label_noise import LabelNoise
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup

CLASSES = 10


class Epoch:
    """As much of a run as `on_epoch_start` reads."""

    seed = 0


def encode(tricks: list[Any], labels: Tensor, epoch: int = 0) -> Tensor:
    hooks = Hooks(tricks)
    hooks.on_epoch_start(Epoch(), epoch)
    targets: Tensor = hooks.encode_targets(labels, CLASSES)
    return targets


def test_contract() -> None:
    assert "weights" in check_trick(LabelNoise, share=0.5)


def test_contract_beside_others_that_change_targets() -> None:
    check_trick(LabelNoise, beside=[LabelSmoothing, Mixup], share=0.5)


def test_the_share_that_changes_is_share_times_nine_tenths() -> None:
    labels = torch.arange(100_000) % CLASSES
    new = encode([LabelNoise(share=0.3)], labels).argmax(1)
    assert (new != labels).double().mean().item() == pytest.approx(0.27, abs=0.01)
    assert torch.bincount(new).double().div(len(new)).sub(0.1).abs().max() < 0.01


def test_on_average_it_is_torchs_label_smoothing() -> None:
    """E[one-hot of the noisy label] = (1 − share)·one-hot + share/K."""
    labels = torch.zeros(200_000, dtype=torch.int64)
    mean = encode([LabelNoise(share=0.3)], labels).double().mean(0)
    logits = torch.linspace(-1, 1, CLASSES, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(
        logits[None], torch.zeros(1, dtype=torch.int64), label_smoothing=0.3
    )
    assert -(mean * logits.log_softmax(0)).sum().item() == pytest.approx(expected.item(), abs=0.01)


def test_noise_and_smoothing_commute() -> None:
    labels = torch.arange(64) % CLASSES
    new = encode([LabelNoise(share=0.5)], labels).argmax(1)
    both = encode([LabelSmoothing(epsilon=0.1), LabelNoise(share=0.5)], labels)
    torch.testing.assert_close(both, encode([LabelSmoothing(epsilon=0.1)], new))


def test_every_epoch_has_noise_of_its_own() -> None:
    labels = torch.zeros(64, dtype=torch.int64)
    trick = LabelNoise(share=0.5)
    first, second = encode([trick], labels, 0), encode([trick], labels, 1)
    assert not torch.equal(first, second)
    assert torch.equal(first, encode([trick], labels, 0))


def test_with_every_label_random_nothing_is_learned() -> None:
    """Chance is a loss of log 10; the same training without noise is far below."""
    settings = {"epochs": 20, "lr": 0.1}
    noisy = train_tiny([LabelNoise(share=1.0)], **settings).metrics[-1]["train_loss"]
    clean = train_tiny(**settings).metrics[-1]["train_loss"]
    assert clean < 1 < 2 < noisy
