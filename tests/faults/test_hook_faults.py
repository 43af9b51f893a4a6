"""A trick that raises in a hook, or returns what the hook does not allow: every hook there is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate import Factors, Mixer, Outputs, Precision, Trick, hookimpl
from ablate.errors import AblateError, TrickError
from ablate.hookspecs import HOOKS
from ablate.tricks.hooks import resolve_recipe
from tests.helpers.support import recipe, run


class Linear(Trick):
    """The smallest model."""

    @hookimpl
    def build_model(self, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))


class Own(Exception):
    """What a third party raises."""


class OwnBase(BaseException):
    """And what it should not: it cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def culprit(hook: str, act: Callable[..., Any], *, wrapper: bool = False) -> Trick:
    """A trick whose only hook does this; as a wrapper, to what the inner ones returned."""

    def plain(self: Trick) -> Any:
        return act()

    def around(self: Trick) -> Generator[None, Any, Any]:
        return act((yield))

    function = around if wrapper else plain
    function.__name__ = hook
    implemented = hookimpl(wrapper=True)(function) if wrapper else hookimpl(function)
    made = type("Culprit", (Trick,), {hook: implemented, "__module__": __name__})
    return made()  # type: ignore[no-any-return]


def called(hook: str, trick: Trick) -> None:
    """The hook, called as a study calls it."""
    if HOOKS[hook].stage == "plan":
        resolve_recipe([trick], recipe())
        return
    linear = [] if hook == "build_model" and "wrapper" not in repr(trick) else [Linear()]
    run([*linear, trick], epochs=1)


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: Any) -> Any:
        raise error

    return act


def test_whatever_is_raised_in_any_hook_names_trick_and_hook(proved: Callable[..., None]) -> None:
    times = 0
    for hook, info in HOOKS.items():
        errors: list[BaseException] = [
            Own("as written"),
            SystemExit(4),
            GeneratorExit(),
            MemoryError(),
        ]
        errors.append(OwnBase())
        for error in errors[:: 1 if hook == "on_step_end" else 4]:
            for wrapper in (False, True) if info.kind == "replaceable" else (False,):
                with pytest.raises(TrickError) as caught:
                    called(hook, culprit(hook, raising(error), wrapper=wrapper))
                assert (caught.value.trick, caught.value.hook) == ("culprit", hook)
                assert type(error).__name__ in caught.value.message
                assert caught.value.__cause__ is error
                times += 1
    proved("tricks", "a trick raises in a hook",
           f"each of the {len(HOOKS)} hooks, as a replacement and as a wrapper, errors of a third "
           "party's, SystemExit, GeneratorExit, MemoryError, a BaseException without a text",
           times, "its own trial; trick and hook named")  # fmt: skip


class Shapeless:
    """Looks like nothing, and breaks where it is looked at."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("no shape")

    def __len__(self) -> int:
        raise RuntimeError("no length")


# What each hook must not return beside what none may: of the right type, but wrong.
WRONG: dict[str, list[Callable[..., Any]]] = {
    "build_model": [lambda *a: nn.Identity(), lambda *a: nn.Flatten()],
    "param_groups": [lambda *a: [], lambda *a: [{"params": 3}], lambda *a: [{}]],
    "build_optimizer": [lambda *a: torch.optim.SGD],
    "build_schedule": [lambda *a: lambda *b: 0.5, lambda *a: lambda: Factors(1.0)],
    "precision": [lambda *a: Precision("float8"), lambda *a: torch.float16],
    "augmentations": [lambda *a: [3]],
    "batch_mixers": [
        lambda *a: Mixer("culprit", lambda images, targets, draws: images),
        lambda *a: Mixer("culprit", lambda images, targets, draws: (images[1:], targets[1:])),
        lambda *a: Mixer("culprit", 3),  # type: ignore[arg-type]
    ],
    "train_size": [lambda *a: 0, lambda *a: -8, lambda *a: 8.0, lambda *a: True],
    "encode_targets": [lambda *a: torch.zeros(16, 11), lambda *a: torch.zeros(16, 10).long()],
    "forward": [
        lambda *a: Outputs(torch.zeros(16, 11)),
        lambda *a: Outputs(torch.zeros(3, 10)),
        lambda *a: Outputs("x"),  # type: ignore[arg-type]
        lambda *a: torch.zeros(16, 10),
    ],
    "compute_loss": [lambda *a: torch.zeros(16), lambda *a: torch.zeros(()), lambda *a: 0.5],
    "extra_losses": [lambda *a: {"x": torch.zeros(3)}, lambda *a: {3: torch.zeros(())}],
    "transform_gradients": [lambda *a: [], lambda *a: [torch.zeros(1)] * 2],
    "optimizer_step": [lambda *a: None],
    "eval_model": [lambda *a: nn.Identity(), lambda *a: nn.Flatten()],
    "extra_metrics": [lambda *a: {"x": 10**400}, lambda *a: {"x": "1"}, lambda *a: {3: 1.0}],
}


def test_whatever_any_hook_should_not_return_names_trick_and_hook(
    proved: Callable[..., None],
) -> None:
    times = 0
    for hook, info in HOOKS.items():
        anything = [lambda *a: 3.5j, lambda *a: Shapeless(), lambda *a: Outputs]
        if info.kind != "notification" and hook != "optimizer_step":
            anything.append(lambda *a: None)
        for act in [*anything, *WRONG.get(hook, [])]:
            with pytest.raises(AblateError) as caught:
                called(hook, culprit(hook, act))
            assert isinstance(caught.value, TrickError), (hook, times, caught.value)
            assert caught.value.trick == "culprit", (hook, caught.value)
            assert caught.value.hook == hook
            times += 1
    proved("tricks", "a trick returns the wrong type or shape",
           f"each of the {len(HOOKS)} hooks: nothing, a number, a class, what breaks where it is "
           "looked at, tensors of other shapes and types",
           times, "its own trial; trick and hook named")  # fmt: skip


def test_a_loss_that_a_wrapper_makes_complex_or_integer_is_refused() -> None:
    for change in (lambda loss: loss.long(), lambda loss: loss + 0j):

        def act(loss: Tensor, change: Callable[[Tensor], Tensor] = change) -> Tensor:
            return change(loss)

        with pytest.raises(TrickError, match="'culprit', compute_loss: returned torch"):
            called("compute_loss", culprit("compute_loss", act, wrapper=True))
