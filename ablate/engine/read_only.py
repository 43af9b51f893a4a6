"""What hooks may only read: in a trial's first step and at its first epoch's end it is looked at.

A version counter tells of every operation that writes to a tensor. It does not tell of writes by
`p.data` or through NumPy, so that sums of the tensors' bits are compared too; these make the
processor wait for the device, which it does in one step and at the end of one epoch only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from ablate.core.hook_types import Batch, Mixer, Outputs, Run, Schedule
from ablate.core.recipe import Recipe
from ablate.errors import Forbidden
from ablate.hookspecs import HOOKS
from ablate.tricks.hooks import Around, Hooks, blaming
from ablate.tricks.ordering import Implementation
from ablate.tricks.places import place

_TOLD: Final = "on_trial_start", "on_epoch_start", "on_step_end", "on_epoch_end"
# Of a run: all of it, its optimizer and weights but not the buffers, which a forward pass moves.
_WHOLE: Final = frozenset({*_TOLD, "eval_model", "extra_metrics", "transform_gradients"})
_HELD: Final = _WHOLE | {"extra_losses", "forward", "compute_loss", "encode_targets"}
_FIELDS: Final = "recipe", "seed", "model", "optimizer", "total_steps", "step", "epoch", "teacher"


class ReadOnly:
    """Holds implementations to it; `run` is the trial's, once there is one.

    always: in every step and epoch, as `check_trick` does.
    """

    def __init__(self, always: bool = False) -> None:
        self.run: Run | None = None
        self._always = always

    def around(self, inner: Around | None) -> Around:
        """What `Hooks` takes: implementations that are looked at, around what `inner` makes."""

        def held(hook: str, impl: Implementation, wraps: bool) -> Implementation:
            made = inner(hook, impl, wraps) if inner is not None else impl
            if hook not in _HELD:
                return made
            act = _Generator if wraps else _acting
            return replace(made, function=self._watching(hook, impl, made.function, act))

        return held

    def _watching(
        self, hook: str, impl: Implementation, function: Callable[..., Any], act: Callable[..., Any]
    ) -> Callable[..., Any]:
        in_step, first = HOOKS[hook].stage == "step", int(hook == "on_step_end")
        always = self._always or hook == "on_epoch_end"  # whose metrics are looked at every time

        def call(*args: Any) -> Any:
            run = self.run
            if run is None or not (
                always or (run.step == first if in_step else run.epoch == 0 and run.step >= 0)
            ):
                return function(*args)
            of = run if hook in _WHOLE or hook == "extra_losses" else None
            if hook == "on_epoch_end" and run.epoch and not self._always:
                of = None
            return act(function, args, lambda: _Look.at(hook, impl, of, args))

        return call


def _acting(function: Callable[..., Any], args: tuple[Any, ...], look: Callable[[], _Look]) -> Any:
    before = look()
    value = function(*args)
    before.compare(look())
    return value


class _Generator:
    """A wrapper's generator, looked at around its own stretches: what it wraps is not its own."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], look: Callable[[], _Look]
    ) -> None:
        self._made, self._look = function(*args), look
        self.close = self._made.close

    def __next__(self) -> Any:
        return self._resumed(self._made.__next__)

    def send(self, value: Any) -> Any:
        """As a generator's."""
        return self._resumed(self._made.send, value)

    def throw(self, error: BaseException) -> Any:
        """As a generator's."""
        return self._resumed(self._made.throw, error)

    @property
    def gi_frame(self) -> Any:
        """Where it stands."""
        return getattr(self._made, "gi_frame", None)

    def _resumed(self, resume: Callable[..., Any], *args: Any) -> Any:
        before = self._look()
        try:
            value = resume(*args)
        except StopIteration:  # it has returned
            before.compare(self._look())
            raise
        before.compare(self._look())
        return value


@dataclass(frozen=True)
class _Look:
    """How everything stood at one moment that an implementation may only read."""

    hook: str
    impl: Implementation
    given: Mapping[str, Any]  # of tensors what `_mark` says; `metrics` as they are
    weights: Mapping[str, Any]
    buffers: Mapping[str, Any]
    settings: Mapping[str, Any]  # of the optimizer
    state: Sequence[Any]
    modes: Sequence[bool]
    fields: Mapping[str, Any]

    @classmethod
    def at(cls, hook: str, impl: Implementation, run: Run | None, args: Sequence[Any]) -> _Look:
        """run: None where the hook is not given one."""
        given = dict(_given(impl.arguments, args))
        metrics = {k: dict(v) for k, v in given.items() if not isinstance(v, Tensor)}
        tensors = {k: v for k, v in given.items() if isinstance(v, Tensor)}
        marks = metrics | _marks(tensors, hook)
        if run is None:
            return cls(hook, impl, marks, {}, {}, {}, (), (), {})
        state = [
            _version(value)
            for values in run.optimizer.state.values()
            for value in (values.values() if isinstance(values, dict) else ())
            if isinstance(value, Tensor)
        ]
        buffers = run.model.named_buffers() if hook in _WHOLE else ()
        return cls(
            hook, impl, marks,
            weights=_marks(dict(run.model.named_parameters()), hook),
            buffers=_marks(dict(buffers), hook),
            settings=_settings(run.optimizer),
            state=state,
            modes=[module.training for module in run.model.modules()],
            fields={name: getattr(run, name) for name in _FIELDS},
        )  # fmt: skip

    def compare(self, after: _Look) -> None:
        """Raise Forbidden if something is not now what it was here."""
        if (said := self._difference(after)) is not None:
            raise Forbidden(self.impl.trick.name, self.hook, said + self._place())

    def _place(self) -> str:
        return place(getattr(type(self.impl.trick), self.hook, None))

    def _difference(self, after: _Look) -> str | None:
        if changed := _changed(self.given, after.given):
            if "metrics" in changed:
                return "writes to metrics, which is read-only; extra_metrics returns more of them"
            return (
                f"writes to {changed[0]}, which others read too; compute a new tensor, "
                "or change a clone()"
            )
        if changed := [n for n in self.fields if self.fields[n] is not after.fields[n]
                       and self.fields[n] != after.fields[n]]:  # fmt: skip
            return f"sets run.{changed[0]}; a run is only read"
        for kind, before, now in (("weights", self.weights, after.weights),
                                  ("buffers", self.buffers, after.buffers)):  # fmt: skip
            if changed := _changed(before, now):
                more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
                what = f"{kind} of the model in training ({changed[0]}{more})"
                return f"writes to {what}; {_to_do(self.hook)}"
        if changed := _changed(self.settings, after.settings):
            return (
                f"sets {changed[0]} of the optimizer; what build_schedule returns decides lr and "
                "momentum in every step, and any other setting may change in optimizer_step"
            )
        if self.state != after.state:
            return "writes to the optimizer's state; what it holds may change in optimizer_step"
        if self.modes != after.modes:
            return (
                "leaves layers of the model in training in another mode; put it back with "
                "model.train(), or use a copy.deepcopy(model)"
            )
        return None


def _settings(optimizer: torch.optim.Optimizer) -> dict[str, list[Any]]:
    """By name, each group's value; of a tensor what differs once it was written to."""
    settings: dict[str, list[Any]] = {}
    for number, group in enumerate(optimizer.param_groups):
        for name, value in group.items():
            if name == "params":
                kept: Any = len(value)
            else:
                kept = _version(value) if isinstance(value, Tensor) else value
            settings.setdefault(name, []).append((number, kept))
    return settings


def _to_do(hook: str) -> str:
    if hook == "eval_model":
        return "change a copy.deepcopy(model), and return that"
    if hook in ("extra_metrics", "extra_losses"):
        return "compute on a copy.deepcopy(model)"
    if hook == "transform_gradients":
        return "it returns gradients; weights may change in optimizer_step, after apply_gradients()"
    if hook == "on_trial_start":
        return "weights begin in init_model"
    return (
        "it is only told; weights may change in optimizer_step, after apply_gradients(), and "
        "eval_model returns what is evaluated"
    )


def _given(names: Sequence[str], args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """By name, the tensors of the arguments, and the metrics."""
    for name, value in zip(names, args, strict=False):
        if isinstance(value, Batch):
            for field in ("images", "labels", "targets"):
                yield f"batch.{field}", getattr(value, field)
        elif isinstance(value, Outputs):
            yield "outputs.logits", value.logits
            for number, (_, logits) in enumerate(value.aux):
                yield f"outputs.aux[{number}]", logits
        elif isinstance(value, Tensor) or name == "metrics":
            yield name, value


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def _marks(tensors: Mapping[str, Tensor], hook: str) -> dict[str, Any]:
    """By name, what differs once a tensor was written to.

    For extra_metrics what it holds alone: it may move weights for a while, if it puts them back.
    """
    sums = _sums(tensors.values())
    if hook == "extra_metrics":
        return dict(zip(tensors, sums, strict=True))
    versions = map(_version, tensors.values())
    return dict(zip(tensors, zip(versions, sums, strict=True), strict=True))


# What classes of others' that only look like tensors may raise: looking must not end a training.
_STRANGE: Final = (RuntimeError, NotImplementedError, TypeError)


def _version(tensor: Tensor) -> tuple[int, ...]:
    try:
        return id(tensor), tensor._version, tensor.data_ptr()
    except _STRANGE:  # of an inference tensor, too, which counts no versions
        return (id(tensor),)


def _sums(tensors: Iterable[Tensor]) -> list[int]:
    """The sum of each one's bits, read as integers; waits for the device once."""
    with torch.no_grad():
        sums = [_sum(tensor) for tensor in tensors]
        if len({one.device for one in sums}) > 1:
            sums = [one.cpu() for one in sums]
        return torch.stack(sums).tolist() if sums else []


def _sum(tensor: Tensor) -> Tensor:
    """Of a dense tensor it takes no memory, in whatever order its dimensions lie."""
    if tensor.is_meta:
        return torch.zeros((), dtype=torch.int64)
    try:
        tensor = tensor.detach()
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor.resolve_conj())
        strides = tensor.stride()
        lying = sorted(range(tensor.ndim), key=lambda d: (-strides[d], d))
        parts = tensor.resolve_neg().permute(lying).reshape(-1).view(torch.uint8)
        whole = len(parts) // 8 * 8
        if parts.storage_offset() % 8:
            parts = parts.clone()
        return parts[:whole].view(torch.int64).sum() + parts[whole:].sum(dtype=torch.int64)
    except _STRANGE:  # sparse ones, and quantized ones
        return torch.zeros((), dtype=torch.int64)


def check_pure(hooks: Hooks, schedule: Schedule, recipe: Recipe, total: int) -> None:
    """Ask for learning rates and sizes twice, in two orders. Raises Forbidden for two answers."""
    if hooks.acting["build_schedule"]:
        steps = sorted({0, 1, total // 2, total - 1} & set(range(total)))
        name = hooks.behind("build_schedule")
        with blaming(name, "build_schedule"):
            first = [schedule(step, 0, total) for step in steps]
            again = [schedule(step, 0, total) for step in reversed(steps)][::-1]
            differ = [s for s, a, b in zip(steps, first, again, strict=True) if a != b]
        if differ:
            raise Forbidden(
                name, "build_schedule",
                f"its schedule gives two answers for step {differ[0]}; it must be a function of "
                f"step, start and total alone{place(schedule)}",
            )  # fmt: skip
    if hooks.acting["train_size"]:
        epochs = range(min(recipe.epochs, 1000))
        sizes = [hooks.train_size(recipe, epoch) for epoch in epochs]
        for epoch in reversed(epochs):
            if (size := hooks.train_size(recipe, epoch)) != sizes[epoch]:
                raise Forbidden(
                    hooks.behind("train_size"), "train_size",
                    f"gives {sizes[epoch]} pixels for epoch {epoch} and, asked again, {size}; it "
                    "must be a function of recipe and epoch alone",
                )  # fmt: skip


class Given:
    """A mixer's tensors, before it is called. in_full: their content too."""

    def __init__(self, batch: Batch, in_full: bool) -> None:
        self._tensors = batch.images, batch.targets
        self._in_full = in_full
        self._versions = batch.images._version, batch.targets._version
        self._sums = _sums(self._tensors) if in_full else []

    def check(self, mixer: Mixer) -> None:
        """Raises Forbidden if it has written to them."""
        now = tuple(tensor._version for tensor in self._tensors)
        sums = _sums(self._tensors) if self._in_full else []
        if (now, sums) != (self._versions, self._sums):
            same = now[0] == self._versions[0] and sums[:1] == self._sums[:1]
            raise Forbidden(
                mixer.name, "batch_mixers",
                f"its mixer writes to the {'targets' if same else 'images'} it is given; compute "
                f"new tensors, or change a clone(){place(mixer.apply)}",
            )  # fmt: skip
