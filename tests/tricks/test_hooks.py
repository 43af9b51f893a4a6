"""Chains: order, wrapping, unwinding, and the right trick blamed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ablate import Trick, hookimpl
from ablate.errors import AblateError, TrickError
from ablate.tricks.hooks import Hooks
from ablate.tricks.ordering import register, stack_problems

LABELS = torch.tensor([0, 2])


class Add(Trick):
    """Adds a number to the targets."""

    amount: float = 1.0

    @hookimpl(wrapper=True)
    def encode_targets(self, labels: Tensor) -> Generator[None, Tensor, Tensor]:
        targets = yield
        return targets + self.amount


class Double(Trick):
    """Doubles them."""

    slot: ClassVar[str] = "threshold"

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Generator[None, Tensor, Tensor]:
        targets = yield
        return targets * 2


class Smooth(Trick):
    """In the inner slot, whatever its name."""

    slot: ClassVar[dict[str, str]] = {"encode_targets": "smooth"}

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Generator[None, Tensor, Tensor]:
        targets = yield
        return targets + 10


def test_a_chain_gives_what_pluggy_gives_for_the_same_order() -> None:
    tricks = [Double(), Add(), Smooth()]
    ours = Hooks(tricks).encode_targets(LABELS, 3)
    # pluggy calls the last registered wrapper first, so the innermost is registered first
    manager = register([Smooth(), Add(), Double()])

    class Default:
        @hookimpl
        def encode_targets(self, labels: Tensor, num_classes: int) -> Tensor:
            return torch.nn.functional.one_hot(labels, num_classes).float()

    manager.register(Default())
    impl = Default().encode_targets(LABELS, 3)
    theirs = ((impl + 10) + 1) * 2
    assert torch.equal(ours, theirs)


def test_order_does_not_depend_on_the_order_given() -> None:
    results = [
        Hooks(order).encode_targets(LABELS, 3)
        for order in ([Add(), Double(), Smooth()], [Smooth(), Double(), Add()])
    ]
    assert torch.equal(*results)
    assert Hooks([Double(), Add(), Smooth()]).acting["encode_targets"] == (
        "smooth",
        "add",
        "double",
    )


def test_tags_order_within_a_slot() -> None:
    class Late(Add):
        name: ClassVar[str] = "a_late"
        after: ClassVar[frozenset[str]] = frozenset({"early"})

    class Early(Add):
        name: ClassVar[str] = "z_early"
        provides: ClassVar[frozenset[str]] = frozenset({"early"})

    assert Hooks([Late(), Early()]).acting["encode_targets"] == ("z_early", "a_late")


def test_a_cycle_prints_its_edges() -> None:
    class One(Add):
        provides: ClassVar[frozenset[str]] = frozenset({"one"})
        before: ClassVar[frozenset[str]] = frozenset({"two"})

    class Two(Add):
        provides: ClassVar[frozenset[str]] = frozenset({"two"})
        before: ClassVar[frozenset[str]] = frozenset({"one"})

    with pytest.raises(AblateError, match="one before two, two before one"):
        Hooks([One(), Two()])


class Replaces(Trick):
    """Replaces the schedule."""

    @hookimpl
    def build_schedule(self) -> Any:
        return None


class ReplacesToo(Replaces):
    """As well."""


def test_two_replacements_are_a_problem_that_names_both() -> None:
    assert stack_problems([Replaces(), ReplacesToo()]) == [
        "replaces and replaces_too replace build_schedule"
    ]
    with pytest.raises(AblateError, match="replaces and replaces_too"):
        Hooks([ReplacesToo(), Replaces()])


def test_tags_are_checked() -> None:
    class Needs(Add):
        requires: ClassVar[frozenset[str]] = frozenset({"teacher"})

    class Fp(Add):
        name: ClassVar[str] = "fp"
        exclusive: ClassVar[frozenset[str]] = frozenset({"number-format"})

    class Bf(Add):
        name: ClassVar[str] = "bf"
        exclusive: ClassVar[frozenset[str]] = frozenset({"number-format"})

    class Against(Add):
        name: ClassVar[str] = "against"
        conflicts: ClassVar[frozenset[str]] = frozenset({"x"})

    class X(Add):
        provides: ClassVar[frozenset[str]] = frozenset({"x"})

    assert "provides 'teacher'" in stack_problems([Needs()])[0]
    assert "bf and fp exclude each other" in stack_problems([Fp(), Bf()])[0]
    assert "against and x conflict over 'x'" in stack_problems([Against(), X()])[0]
    assert stack_problems([Fp(), Against()]) == []
    assert stack_problems([Add(), Add(amount=2)]) == ["add is in the row twice"]


@pytest.mark.parametrize(
    ("hook", "value", "message"),
    [
        ("encode_targets", None, "returned None; is a `return` missing"),
        ("encode_targets", torch.zeros(2, 4), r"shape \[2, 4\], not \[2, 3\]"),
        ("encode_targets", torch.zeros(2, 3, dtype=torch.int64), "not a floating type"),
        ("encode_targets", 7, "returned int, not a tensor"),
    ],
)
def test_a_wrong_result_names_the_trick(hook: str, value: Any, message: str) -> None:
    class Wrong(Trick):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            yield
            return value

    with pytest.raises(TrickError, match=rf"trick 'wrong', {hook}: .*{message}"):
        Hooks([Add(), Wrong(), Double()]).encode_targets(LABELS, 3)


def test_an_error_names_the_trick_that_raised_and_others_unwind() -> None:
    unwound = []

    class Outer(Trick):
        slot: ClassVar[str] = "threshold"

        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            try:
                return (yield)
            finally:
                unwound.append("outer")

    class Raises(Trick):
        slot: ClassVar[str] = "smooth"

        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            yield
            raise ValueError("broken here")

    with pytest.raises(TrickError, match="trick 'raises', encode_targets: ValueError: broken here"):
        Hooks([Outer(), Raises()]).encode_targets(LABELS, 3)
    assert unwound == ["outer"]


def test_a_long_message_of_many_lines_is_one_line() -> None:
    class Talks(Trick):
        @hookimpl
        def extra_metrics(self) -> Any:
            raise ValueError("first\nsecond " + 5000 * "x")

    with pytest.raises(TrickError) as caught:
        Hooks([Talks()]).extra_metrics(None)
    assert caught.value.message.startswith("trick 'talks', extra_metrics: ValueError: first second")
    assert len(caught.value.message) < 400


def test_what_a_trick_got_wrong_in_a_result_is_said() -> None:
    class Metrics(Trick):
        @hookimpl
        def extra_metrics(self) -> Any:
            return {"norm": torch.tensor(1.0)}

    class Constant(Trick):
        @hookimpl
        def compute_loss(self) -> Any:
            return torch.tensor(1.0)

    with pytest.raises(TrickError, match="norm: returned Tensor, not a number"):
        Hooks([Metrics()]).extra_metrics(None)
    logits = torch.zeros(2, 3, requires_grad=True)
    with pytest.raises(TrickError, match="a loss without a gradient"):
        Hooks([Constant()]).compute_loss(logits, torch.zeros(2, 3))


def test_an_optimizer_that_leaves_parameters_out_is_refused() -> None:
    class Half(Trick):
        @hookimpl
        def build_optimizer(self, groups: Any) -> Any:
            return torch.optim.SGD(groups[0]["params"][:1], lr=0.1)

    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(3)]
    with pytest.raises(TrickError, match="returned an optimizer without 2 of 3 parameters"):
        Hooks([Half()]).build_optimizer([{"params": params}], None)


@pytest.mark.parametrize("yields", [0, 2])
def test_a_wrapper_yields_once(yields: int) -> None:
    class Yields(Trick):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            value = None
            for _ in range(yields):
                value = yield
            return value

    with pytest.raises(TrickError, match="must `yield` once"):
        Hooks([Yields()]).encode_targets(LABELS, 3)


def test_a_misspelt_hook_a_forgotten_mark_and_a_wrong_argument_are_refused() -> None:
    class Misspelt(Trick):
        @hookimpl
        def encode_target(self) -> None: ...

    class Strange(Trick):
        @hookimpl
        def on_step_end(self, weather: str) -> None: ...

    class WrapsCollected(Trick):
        @hookimpl(wrapper=True)
        def extra_metrics(self) -> Any:
            yield

    class NeverYields(Trick):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            return 3

    class NoSlot(Add):
        slot: ClassVar[str] = "smoth"

    class Empty(Trick):
        pass

    with pytest.raises(AblateError, match="'encode_target', which is no hook; did you mean"):
        Hooks([Misspelt()])
    with pytest.raises(AblateError, match="on_step_end with 'weather', which is no argument"):
        Hooks([Strange()])
    with pytest.raises(AblateError, match="wraps encode_targets without a `yield`"):
        Hooks([NeverYields()])
    with pytest.raises(AblateError, match=r"slot 'smoth' is none of .* did you mean 'smooth'"):
        Hooks([NoSlot()])
    with pytest.raises(AblateError, match="wraps extra_metrics, which is collected"):
        Hooks([WrapsCollected()])
    with pytest.raises(AblateError, match="implements no hook"):
        Hooks([Empty()])
    with pytest.raises(TypeError, match="without @hookimpl"):

        class Forgot(Trick):
            def encode_targets(self) -> None: ...


@pytest.mark.parametrize("wraps", [False, True])
def test_ctrl_c_is_a_persons_except_where_the_process_ignores_it(wraps: bool) -> None:
    class Plain(Trick):
        @hookimpl
        def encode_targets(self) -> Tensor:
            raise KeyboardInterrupt

    class Wraps(Trick):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            raise KeyboardInterrupt
            yield

    hooks = Hooks([Wraps() if wraps else Plain()])
    # not as found: what runs in the background of a shell ignores it already
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            hooks.encode_targets(LABELS, 3)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with pytest.raises(TrickError, match=r"encode_targets: KeyboardInterrupt"):
            hooks.encode_targets(LABELS, 3)
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_trick_that_exits_is_named() -> None:
    class Quits(Trick):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Any:
            yield
            sys.exit("enough")

    with pytest.raises(TrickError, match="trick 'quits', encode_targets: SystemExit: enough"):
        Hooks([Quits()]).encode_targets(LABELS, 3)


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")  # pydantic's own, before ours
@pytest.mark.parametrize("name", ["precision", "use", "bundle", "version"])
def test_a_parameter_named_like_a_hook_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="may not be named"):
        type("Bad", (Trick,), {"__annotations__": {name: int}, name: 1, "__module__": __name__})


def test_parameters_are_frozen_and_unknown_ones_refused() -> None:
    with pytest.raises(ValidationError):
        Add().amount = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Add(amuont=3)  # type: ignore[call-arg]
