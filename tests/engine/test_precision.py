"""The loss scale against torch's GradScaler, and autocast's number formats."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ablate.engine.precision import NumberFormat, ScaledOnDevice, fuse, number_format
from ablate.tricks.hooks import Hooks
from ablate_tricks.bf16 import Bf16
from ablate_tricks.fp16 import Fp16

CPU = torch.device("cpu")


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(4, 8, generator=generator), torch.randint(4, (4,), generator=generator))
        for _ in range(count)
    ]


def test_scaling_equals_gradscaler_over_20_steps_with_overflows() -> None:
    ours, theirs = model(), model()
    format_ = NumberFormat(Hooks([Fp16()]).precision(), CPU)
    scaler = torch.amp.GradScaler("cpu")
    sgd = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (ours, theirs)]
    scales = []
    for step, (images, y) in enumerate(batches(20)):
        # steps 3 and 11 overflow
        x = images * 1e38 if step in (3, 11) else images
        sgd[0].zero_grad()
        format_.backward(nn.functional.cross_entropy(ours(x), y))
        format_.unscale(list(ours.parameters()))
        stepped = format_.step(sgd[0])
        sgd[1].zero_grad()
        scaler.scale(nn.functional.cross_entropy(theirs(x), y)).backward()
        scaler.step(sgd[1])
        scaler.update()
        assert stepped == (step not in (3, 11))
        assert format_.scale == scaler.get_scale()
        scales.append(format_.scale)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)
    assert scales[-1] == 2.0**14


def test_scaling_in_fp32_equals_no_scaling() -> None:
    """A power of two changes no bit."""
    scaled, plain = model(), model()
    format_ = NumberFormat(Hooks([Fp16()]).precision(), CPU)
    sgd = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (scaled, plain)]
    for x, y in batches(20):
        sgd[0].zero_grad()
        format_.backward(nn.functional.cross_entropy(scaled(x), y))
        format_.unscale(list(scaled.parameters()))
        format_.step(sgd[0])
        sgd[1].zero_grad()
        nn.functional.cross_entropy(plain(x), y).backward()
        sgd[1].step()
    for a, b in zip(scaled.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_scale_doubles_after_2000_good_steps() -> None:
    format_ = NumberFormat(Hooks([Fp16()]).precision(), CPU)
    scaler = torch.amp.GradScaler("cpu")
    ours, theirs = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    sgd = [torch.optim.SGD([p], lr=0.0) for p in (ours, theirs)]
    for _ in range(2001):
        ours.grad, theirs.grad = None, None
        format_.backward(ours.sum())
        format_.unscale([ours])
        format_.step(sgd[0])
        scaler.scale(theirs.sum()).backward()
        scaler.step(sgd[1])
        scaler.update()
    assert format_.scale == scaler.get_scale() == 2.0**17


@pytest.mark.parametrize(
    ("trick", "dtype"), [(Fp16(), torch.float16), (Bf16(), torch.bfloat16)], ids=["fp16", "bf16"]
)
def test_forward_runs_in_the_format_and_weights_stay_fp32(
    trick: Fp16 | Bf16, dtype: torch.dtype
) -> None:
    net = model()
    format_ = NumberFormat(Hooks([trick]).precision(), CPU)
    with format_.autocast():
        out = net(batches(1)[0][0])
    with torch.autocast("cpu", dtype=dtype):
        expected = net(batches(1)[0][0])
    assert out.dtype == dtype
    assert torch.equal(out, expected)
    format_.backward(out.float().sum())
    format_.unscale(list(net.parameters()))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in net.parameters() if p.grad is not None} == {torch.float32}


def test_state_round_trips() -> None:
    format_ = NumberFormat(Hooks([Fp16()]).precision(), CPU)
    format_.load_state_dict({"scale": 128.0, "good_steps": 7})
    other = NumberFormat(Hooks([Fp16()]).precision(), CPU)
    other.load_state_dict(format_.state_dict())
    assert other.state_dict() == {"scale": 128.0, "good_steps": 7}


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.Adam, {"lr": 0.01, "weight_decay": 1e-3}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 1e-2}),
]


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS)
def test_fusing_equals_constructing_fused_to_the_bit(
    kind: type[torch.optim.Optimizer], settings: dict[str, Any]
) -> None:
    ours, theirs = model(), model()
    later = kind(ours.parameters(), **settings)
    assert fuse(later)
    fused = kind(theirs.parameters(), fused=True, **settings)
    for x, y in batches(5):
        for net, optimizer in ((ours, later), (theirs, fused)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_has_no_fused_form_stays() -> None:
    class Own(torch.optim.SGD):
        pass

    weight = [nn.Parameter(torch.zeros(2))]
    assert not fuse(torch.optim.RMSprop(weight))
    assert not fuse(Own(weight, lr=0.1))
    assert not fuse(torch.optim.SGD(weight, lr=0.1, momentum=0.9, dampening=0.5))


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS)
def test_the_scale_on_the_device_equals_gradscaler_with_overflows(
    kind: type[torch.optim.Optimizer], settings: dict[str, Any]
) -> None:
    """The first step among them, as with FP16 it nearly always is."""
    ours, theirs = model(), model()
    optimizers = [kind(m.parameters(), **settings) for m in (ours, theirs)]
    assert fuse(optimizers[0])
    format_ = number_format(Hooks([Fp16()]).precision(), CPU, fused=True)
    assert isinstance(format_, ScaledOnDevice)
    scaler = torch.amp.GradScaler("cpu")
    for step, (images, y) in enumerate(batches(20)):
        x = images * 1e38 if step in (0, 3, 11) else images
        before = [p.detach().clone() for p in ours.parameters()]
        optimizers[0].zero_grad()
        format_.backward(nn.functional.cross_entropy(ours(x), y))
        format_.unscale(list(ours.parameters()))
        assert format_.step(optimizers[0]) is None
        optimizers[1].zero_grad()
        scaler.scale(nn.functional.cross_entropy(theirs(x), y)).backward()
        scaler.step(optimizers[1])
        scaler.update()
        assert format_.state_dict()["scale"] == scaler.get_scale()
        for a, b, was in zip(ours.parameters(), theirs.parameters(), before, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
            assert torch.equal(a, was) == (step in (0, 3, 11))
    other = number_format(Hooks([Fp16()]).precision(), CPU, fused=True)
    other.load_state_dict(format_.state_dict())
    assert other.state_dict() == format_.state_dict() == {"scale": 2.0**13, "good_steps": 8}


def test_two_gradients_in_a_step_are_both_looked_at() -> None:
    """SAM takes two; an overflow in the first alone must skip the step."""
    ours = model()
    sgd = torch.optim.SGD(ours.parameters(), lr=0.1)
    assert fuse(sgd)
    format_ = number_format(Hooks([Fp16()]).precision(), CPU, fused=True)
    before = [p.detach().clone() for p in ours.parameters()]
    for factor in (1e38, 1.0):
        sgd.zero_grad()
        x, y = batches(1)[0]
        format_.backward(nn.functional.cross_entropy(ours(x * factor), y))
        format_.unscale(list(ours.parameters()))
    format_.step(sgd)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), before, strict=True))
    assert format_.state_dict() == {"scale": 2.0**15, "good_steps": 0}
