"""sam against two-step SAM written out in plain torch, and in its limits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ablate import Trick, hookimpl
from ablate.core.hook_types import Outputs, Precision, Run
from ablate.errors import Interrupted
from ablate.testing import check_trick
from ablate_tricks.adam import Adam
from ablate_tricks.fp16 import Fp16
from ablate_tricks.gradient_clipping import GradientClipping
from ablate_tricks.sam import Sam
from tests.helpers.support import Memory, run, same, weights
from tests.helpers.tape import Step, assert_same_model, taped


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
    )


def two_steps(rho: float, parts: int = 1, clip: float | None = None) -> Step:
    """SAM by hand: batch norm's momentum is 0 in the second pass."""

    def gradient(model: nn.Module, x: Tensor, y: Tensor) -> None:
        model.zero_grad()
        for images, targets in zip(x.chunk(parts), y.chunk(parts), strict=True):
            (cross_entropy(model(images), targets) / parts).backward()

    def step(model: nn.Module, made: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms
        gradient(model, x, y)
        length = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        home = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.data += rho * p.grad / length
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        gradient(model, x, y)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for p, old in zip(model.parameters(), home, strict=True):
            p.data = old
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()

    return step


def without_counters(model: nn.Module) -> nn.Module:
    """`num_batches_tracked` counts the second pass too in the loop by hand; nothing reads it."""
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    return model


def assert_same(ours: Run, theirs: nn.Module, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    assert_same_model(without_counters(ours.model), without_counters(theirs), rtol=rtol, atol=atol)


@pytest.mark.parametrize("rho", [0.01, 0.1, 0.5])
def test_sam_is_the_one_by_hand(rho: float) -> None:
    trained, tape = taped([Sam(rho=rho)])
    assert_same(trained, tape.replay(sgd, two_steps(rho)))
    plain = tape.replay(sgd)
    difference = max(
        (a - b).abs().max().item()
        for a, b in zip(trained.model.parameters(), plain.parameters(), strict=True)
    )
    assert difference > 1e-3  # the comparison above can tell SAM from SGD


def test_with_parts_clipping_and_adam() -> None:
    """The perturbation is by the whole batch's gradient; clipping acts on the second."""
    tricks = [Sam(rho=0.1), GradientClipping(max_norm=0.5), Adam()]
    trained, tape = taped(tricks, micro_batches=2, lr=1e-3)

    def adam(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)

    theirs = tape.replay(adam, two_steps(0.1, parts=2, clip=0.5))
    # Adam divides by the gradient's size, rounding and all, where it is tiny.
    assert_same(trained, theirs, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("tricks", [[], [Adam()]], ids=["sgd", "adam"])
def test_without_distance_it_is_the_base_optimizer(tricks: list[Trick]) -> None:
    """Bit for bit, batch norm's statistics and counters included."""
    lr = 1e-3 if tricks else 0.05
    still = weights(run([Sam(rho=0.0), *tricks], lr=lr)[0])
    base = weights(run(tricks, lr=lr)[0])
    assert any("running_mean" in name for name in base)
    assert same(still, base)


def test_a_tiny_distance_changes_almost_nothing() -> None:
    tiny = weights(run([Sam(rho=1e-6)])[0])
    for name, value in weights(run()[0]).items():
        torch.testing.assert_close(tiny[name], value, rtol=1e-3, atol=1e-4)


class Scaled(Trick):
    """FP32 with FP16's loss scale."""

    @hookimpl
    def precision(self) -> Precision:
        return Precision("float32", scale=True)


def test_the_loss_scale_changes_no_bit() -> None:
    assert same(weights(run([Sam(), Scaled()])[0]), weights(run([Sam()])[0]))


class Overflow(Trick):
    """In step 2, the gradient of the first or second pass is infinite."""

    at: int
    _passes: Any = PrivateAttr(0)
    _before: Any = PrivateAttr(None)
    _kept: Any = PrivateAttr(None)

    @hookimpl
    def extra_losses(self, run: Run, outputs: Outputs) -> dict[str, Tensor]:
        self._passes += 1
        if run.step != 2:
            self._passes = 0
            return {}
        if self._passes == 1:
            self._before = [p.detach().clone() for p in run.model.parameters()]
        if self._passes != self.at:
            return {}
        return {"burst": (outputs.logits.float() * 1e36).sum()}

    @hookimpl
    def on_step_end(self, run: Run) -> None:
        if run.step == 3:
            after = run.model.parameters()
            self._kept = all(torch.equal(a, b) for a, b in zip(after, self._before, strict=True))


@pytest.mark.parametrize("at", [1, 2])
def test_an_overflow_in_either_pass_skips_the_step_and_halves_the_scale_once(at: int) -> None:
    trick = Overflow(at=at)
    trained, memory = run([Sam(), Scaled(), trick])
    assert trick._kept is True
    assert memory.states[-1]["number_format"]["scale"] == 2.0**15
    assert all(torch.isfinite(value).all() for value in trained.model.state_dict().values())


def test_it_trains_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.engine.precision._INITIAL", 2.0**8)
    half, whole = (weights(run([Sam(), *more])[0]) for more in ([Fp16()], []))
    for name, value in whole.items():
        assert torch.isfinite(half[name]).all()
        # FP16's rounding, not another method: most of the way is the same
        torch.testing.assert_close(half[name], value, rtol=0.1, atol=0.05, msg=name)


class FailsInTheSecondPass(Trick):
    _passes: Any = PrivateAttr(0)
    _start: Any = PrivateAttr(None)
    _model: Any = PrivateAttr(None)

    @hookimpl
    def on_trial_start(self, run: Run) -> None:
        self._start, self._model = weights(run), run.model

    @hookimpl
    def extra_losses(self) -> dict[str, Tensor]:
        self._passes += 1
        if self._passes == 2:
            raise Interrupted
        return {}


def test_the_weights_are_put_back_when_the_second_pass_fails() -> None:
    trick = FailsInTheSecondPass()
    with pytest.raises(Interrupted):
        run([Sam(rho=1.0), trick])
    for name, p in trick._model.named_parameters():
        assert torch.equal(p, trick._start[name])


def test_resumed_training_is_the_uninterrupted_one() -> None:
    whole, memory = run([Sam()], epochs=3)
    resumed, _ = run([Sam()], Memory(saved=memory.states[0]), epochs=3)
    assert same(weights(resumed), weights(whole))


def test_contract() -> None:
    assert "weights" in check_trick(Sam)


def test_words() -> None:
    words = "step: gradient at the weights → at the worst point within ρ 0.05"
    assert Sam().describe() == words
