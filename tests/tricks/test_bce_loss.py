"""bce_loss against timm's BinaryCrossEntropy and in a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from timm.loss import BinaryCrossEntropy
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.bce_loss import BceLoss
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup
from tests.helpers.tape import assert_same_model, taped

K, B = 10, 32
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(B, K, generator=GENERATOR) * 3
LABELS = torch.randint(K, (B,), generator=GENERATOR)
MIXED = torch.rand(B, 1, generator=GENERATOR)
MIXED = one_hot(LABELS, K) * MIXED + one_hot(LABELS.flip(0), K) * (1 - MIXED)


def gradient(loss: nn.Module | BceLoss, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = LOGITS.clone().requires_grad_()
    value = (loss.compute_loss if isinstance(loss, BceLoss) else loss)(logits, targets)
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("classes", ["sum", "mean"])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.2, 0.7])
@pytest.mark.parametrize("mixed", [False, True])
def test_loss_and_gradient_are_timms(classes: str, threshold: float | None, mixed: bool) -> None:
    theirs = BinaryCrossEntropy(
        smoothing=0.0, target_threshold=threshold, sum_classes=classes == "sum"
    )
    targets = MIXED if mixed else one_hot(LABELS, K).float()
    ours = BceLoss(threshold=threshold, classes=classes)
    torch.testing.assert_close(gradient(ours, targets), gradient(theirs, targets))


@pytest.mark.parametrize("threshold", [None, 0.005, 0.5])
def test_with_label_smoothing_it_is_timms(threshold: float | None) -> None:
    """timm smooths inside the loss; ε/K is 0.01: above 0.005, so that every class counts as 1."""
    hooks = Hooks([BceLoss(threshold=threshold), LabelSmoothing(epsilon=0.1)])
    theirs = BinaryCrossEntropy(smoothing=0.1, target_threshold=threshold, sum_classes=True)
    ours = hooks.compute_loss(LOGITS, hooks.encode_targets(LABELS, K))
    torch.testing.assert_close(ours, theirs(LOGITS, LABELS))


def test_undecided_logits_cost_log_2_in_every_class() -> None:
    loss = BceLoss().compute_loss(torch.zeros(4, K), MIXED[:4])
    assert loss.item() == pytest.approx(K * math.log(2))


def test_half_precision_logits_are_summed_in_fp32() -> None:
    loss = BceLoss().compute_loss((LOGITS * 1e3).half(), MIXED)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, BceLoss().compute_loss((LOGITS * 1e3).half().float(), MIXED))
    assert torch.isfinite(loss)


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_a_training_is_a_plain_loop_with_timms_loss(threshold: float | None) -> None:
    """On mixed targets."""
    criterion = BinaryCrossEntropy(0.0, target_threshold=threshold, sum_classes=True)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
        )

    def step(model: nn.Module, made: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        made.zero_grad()
        criterion(model(x), y).backward()
        made.step()

    trained, tape = taped([BceLoss(threshold=threshold), Mixup(alpha=1.0)])
    assert_same_model(trained.model, tape.replay(optimizer, step), rtol=1e-5, atol=1e-6)


def test_contract() -> None:
    assert "weights" in check_trick(BceLoss)
    assert "weights" in check_trick(BceLoss, threshold=0.2, classes="mean")


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_that_no_target_can_cross_is_refused(threshold: float) -> None:
    with pytest.raises(ValidationError):
        BceLoss(threshold=threshold)


def test_words() -> None:
    assert BceLoss().describe() == "loss: cross-entropy → binary cross-entropy"
    words = "loss: cross-entropy → binary cross-entropy, mean over classes, targets above 0.2 are 1"
    assert BceLoss(threshold=0.2, classes="mean").describe() == words
