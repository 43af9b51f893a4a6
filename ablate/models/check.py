"""Whether a model can be built and fed, found on the meta device before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ablate.errors import AblateError, brief
from ablate.models.build import build_model, isolated_rng
from ablate.models.catalogue import is_foreign, model_image_size
from ablate.models.forward import outputs
from ablate.models.init import initialise

if TYPE_CHECKING:
    from ablate.core.trial import Trial

# Gradients that torch refuses on a GPU under `use_deterministic_algorithms`, by operator, of layers
# that models are made of (its documentation's list; the names are those of aten).
_NOT_DETERMINISTIC = {
    "_adaptive_avg_pool2d_backward": "AdaptiveAvgPool2d",
    "_adaptive_avg_pool3d_backward": "AdaptiveAvgPool3d",
    "adaptive_max_pool2d_backward": "AdaptiveMaxPool2d",
    "fractional_max_pool2d_backward": "FractionalMaxPool2d",
    "grid_sampler_2d_backward": "grid_sample",
    "reflection_pad1d_backward": "ReflectionPad1d",
    "reflection_pad2d_backward": "ReflectionPad2d",
    "upsample_bicubic2d_backward": "interpolate, bicubic",
    "upsample_bilinear2d_backward": "interpolate, bilinear",
    "upsample_linear1d_backward": "interpolate, linear",
}


def check_built(name: str, classes: int) -> nn.Module:
    """The model on the meta device; `AblateError` for one that is none."""
    with torch.device("meta"):
        return initialise(build_model(name, classes), 0)


def check_fed(trial: Trial, sizes: tuple[int, ...] = ()) -> None:
    """Refuse a trial's model that cannot take the trial's images, or not train as it wants.

    `sizes` are sides in pixels of training images, the recipe's own by default. The model is the
    plain one, without tricks. Raises `AblateError`, in one line.
    """
    recipe, classes, name = trial.recipe, trial.dataset.num_classes, trial.recipe.model
    model = check_built(name, classes)
    batch = max(1, min(2, recipe.batch_size // recipe.micro_batches))
    training = sizes or ((recipe.image_size,) if recipe.image_size else ())
    for side in training:
        _run(model.train(), name, classes, batch, side)
    if recipe.eval_size:
        _run(model.eval(), name, classes, batch, recipe.eval_size)
    numerics = trial.numerics
    if numerics.deterministic and numerics.device_type == "cuda" and training:
        _check_gradients(model.train(), name, batch, training[0])


def _run(model: nn.Module, name: str, classes: int, batch: int, side: int) -> None:
    try:
        _fed(model, name, classes, batch, side, "meta")
    except AblateError:
        raise
    except Exception as error:  # of a model's code, or of an operator that meta does not have
        if not is_foreign(name):
            raise _refusal(name, batch, side, error) from error
        with torch.device("cpu"), isolated_rng():
            real = initialise(build_model(name, classes), 0).train(model.training)
            try:
                _fed(real, name, classes, batch, side, "cpu")
            except AblateError:
                raise
            except Exception as again:  # as above
                raise _refusal(name, batch, side, again) from again


def _fed(model: nn.Module, name: str, classes: int, batch: int, side: int, device: str) -> None:
    with torch.no_grad():
        found = outputs(model, torch.zeros(batch, 3, side, side, device=device))
    for logits in (found.logits, *(head for _, head in found.aux)):
        if tuple(logits.shape) != (batch, classes):
            raise AblateError(
                f"model '{name}' returned {list(logits.shape)} for {batch} images, not "
                f"[{batch}, {classes}]: one logit a class",
                hint=f"it is built with num_classes={classes}" if is_foreign(name) else None,
            )


def _refusal(name: str, batch: int, side: int, error: Exception) -> AblateError:
    if batch == 1 and "more than 1 value per channel" in str(error):  # the batch norm's own words
        return AblateError(
            f"model '{name}' cannot train on one image of {side} pixels at a time: {brief(error)}",
            hint="a larger batch_size, fewer micro_batches, or a larger image_size",
        )
    own = model_image_size(name)
    return AblateError(
        f"model '{name}' cannot take images of {side} pixels: {brief(error)}",
        hint=f"image_size = {own}, the model's own" if own else "set image_size in [recipe]",
    )


def _check_gradients(model: nn.Module, name: str, batch: int, side: int) -> None:
    """Refuse layers without a deterministic gradient on a GPU."""
    seen = _Seen()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # as in the trial: some layers choose by it
    try:
        with seen:
            found = outputs(model, torch.zeros(batch, 3, side, side, device="meta"))
            total = found.logits.sum()
            for _, head in found.aux:
                total = total + head.sum()
            torch.autograd.backward(total)
    except Exception:  # noqa: BLE001 - not for the meta device: then torch says so in training
        return
    finally:
        torch.use_deterministic_algorithms(before)
    if bad := sorted({_NOT_DETERMINISTIC[op] for op in seen.names & _NOT_DETERMINISTIC.keys()}):
        raise AblateError(
            f"model '{name}' cannot train with exact numerics on a GPU: torch has no deterministic "
            f"gradient of {', '.join(bad)} there",
            hint='numerics = "fast" in [study], or --device cpu',
        )


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The names of all operators that ran."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))
