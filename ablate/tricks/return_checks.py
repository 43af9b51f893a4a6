"""What each hook may return, checked wherever a trick returned it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ablate.core.metrics import MEASURED

Check = Callable[[Any, tuple[Any, ...]], str | None]

# What the engine logs of every epoch.
_MEASURED = frozenset({*MEASURED, "lr"})
_FORGOT = "returned None; is a `return` missing?"


def checker(hook: str) -> Check:
    """check(value, arguments) -> what is wrong with it, or None."""
    return _CHECKS[hook]


def _instance(module: str, name: str) -> Check:
    """The value is an instance of `module.name`, imported when first checked."""

    def check(value: Any, args: tuple[Any, ...]) -> str | None:
        if value is None:
            return _FORGOT
        from importlib import import_module

        kind = getattr(import_module(module), name)
        return None if isinstance(value, kind) else _not(name, value)

    return check


def _not(expected: str, value: Any) -> str:
    return f"returned {type(value).__name__}, not {expected}"


def _nothing(value: Any, args: tuple[Any, ...]) -> str | None:
    return None if value is None else f"returned {type(value).__name__}; it must return nothing"


def _precision(value: Any, args: tuple[Any, ...]) -> str | None:
    wrong = _instance("ablate.core.hook_types", "Precision")(value, args)
    if wrong is not None:
        return wrong
    known = ("float32", "float16", "bfloat16")
    return None if value.dtype in known else f"returned {value.dtype!r}, not one of {known}"


def _schedule(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    return None if callable(value) else _not("a function (step, start, total) -> Factors", value)


def _size(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    if not isinstance(value, int) or isinstance(value, bool):
        return _not("a whole number of pixels", value)
    return None if value > 0 else f"returned {value} pixels"


def _groups(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    if not isinstance(value, list) or not all(
        isinstance(group, dict) and "params" in group for group in value
    ):
        return _not('a list of {"params": […], …}', value)
    grouped = [id(p) for group in value for p in group["params"]]
    wanted = {id(p) for p in args[0].parameters() if p.requires_grad}
    if len(grouped) != len(set(grouped)):
        return "returned a parameter in two groups"
    if missing := len(wanted - set(grouped)):
        return f"left {missing} of {len(wanted)} trainable parameters out of every group"
    if strange := len(set(grouped) - wanted):
        return f"returned {strange} parameters that are not the model's"
    return None


def _optimizer(value: Any, args: tuple[Any, ...]) -> str | None:
    wrong = _instance("torch.optim", "Optimizer")(value, args)
    if wrong is not None:
        return wrong
    wanted = {id(p) for group in args[0] for p in group["params"]}
    missing = len(wanted - {id(p) for group in value.param_groups for p in group["params"]})
    return (
        f"returned an optimizer without {missing} of {len(wanted)} parameters" if missing else None
    )


def _targets(value: Any, args: tuple[Any, ...]) -> str | None:
    labels, num_classes = args
    return _tensor_of(value, (len(labels), num_classes))


def _tensor_of(value: Any, shape: tuple[int, ...]) -> str | None:
    if value is None:
        return _FORGOT
    found = getattr(value, "shape", None)
    if found is None:
        return _not("a tensor", value)
    if tuple(found) != shape:
        return f"returned a tensor of shape {list(found)}, not {list(shape)}"
    return None if value.is_floating_point() else f"returned {value.dtype}, not a floating type"


def _loss(value: Any, args: tuple[Any, ...]) -> str | None:
    wrong = _tensor_of(value, ())
    if wrong is None and args[0].requires_grad and not value.requires_grad:
        return "returned a loss without a gradient: it does not depend on the logits"
    return wrong


def _gradients(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    given = args[1]
    if not isinstance(value, list) or len(value) != len(given):
        return f"returned not the {len(given)} gradients it was given"
    for index, (new, old) in enumerate(zip(value, given, strict=True)):
        if getattr(new, "shape", None) != old.shape:
            return f"returned gradient {index} of another shape than {list(old.shape)}"
    return None


def _outputs(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    from ablate.core.hook_types import Outputs

    if not isinstance(value, Outputs):
        return _not("Outputs", value)
    shape = value.logits.shape
    if len(shape) != 2 or shape[0] != len(args[1].images):
        return f"returned logits of shape {list(shape)} for {len(args[1].images)} images"
    if shape[1] != (classes := args[1].targets.shape[1]):
        return f"returned logits of {shape[1]} classes; the data set has {classes}"
    return None


def _augmentations(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    from ablate.core.hook_types import SLOTS, Augmentation

    if not isinstance(value, list) or not all(isinstance(a, Augmentation) for a in value):
        return _not("a list of Augmentation", value)
    for augmentation in value:
        if augmentation.slot not in SLOTS:
            return f"returned an Augmentation of slot '{augmentation.slot}', not of {SLOTS}"
    return None


def _numbers(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return _not("a dict of names and numbers", value)
    for key, number in value.items():
        if key in _MEASURED or key.startswith("train_loss/"):
            return f"returned '{key}', which is logged already; another name keeps both"
        if not isinstance(number, int | float):
            return f"{key}: {_not('a number', number)}; float(…) makes one of a tensor"
        try:
            float(number)
        except OverflowError:
            return f"{key}: returned a number that no float holds"
    return None


def _losses(value: Any, args: tuple[Any, ...]) -> str | None:
    if value is None:
        return _FORGOT
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return _not("a dict of names and scalar tensors", value)
    for key, loss in value.items():
        if (wrong := _tensor_of(loss, ())) is not None:
            return f"{key}: {wrong}"
    return None


_CHECKS: dict[str, Check] = {
    "resolve_recipe": _instance("ablate.core.recipe", "Recipe"),
    "build_model": _instance("torch.nn", "Module"),
    "init_model": _instance("torch.nn", "Module"),
    "param_groups": _groups,
    "build_optimizer": _optimizer,
    "build_schedule": _schedule,
    "precision": _precision,
    "augmentations": _augmentations,
    "batch_mixers": _instance("ablate.core.hook_types", "Mixer"),
    "on_trial_start": _nothing,
    "on_epoch_start": _nothing,
    "train_size": _size,
    "encode_targets": _targets,
    "forward": _outputs,
    "compute_loss": _loss,
    "extra_losses": _losses,
    "transform_gradients": _gradients,
    "optimizer_step": _nothing,
    "on_step_end": _nothing,
    "eval_model": _instance("torch.nn", "Module"),
    "extra_metrics": _numbers,
    "on_epoch_end": _nothing,
}
