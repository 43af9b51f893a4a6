"""What `ablate models show NAME` prints: size, cost, handles, and the tricks that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablate.core.recipe import Recipe
from ablate.errors import AblateError, NoEffect
from ablate.models.build import build_model
from ablate.models.catalogue import model_image_size, model_info
from ablate.models.surgery import handles
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks

_NUM_CLASSES = 1000
_IMAGE_SIZE = 224
_SMALL_SIZE = 32


@dataclass(frozen=True)
class ModelCard:
    """A model at `num_classes` classes and `image_size` pixels.

    parameters: of all layers. macs: multiply-adds of convolutions and linear layers for one image,
    None where the model cannot run on the meta device. stem: names of its convolutions. classifier:
    name of the last linear layer, or None. no_fit: (trick, reason) of the tricks that find nothing
    to act on.
    """

    name: str
    family: str
    summary: str
    parameters: int
    macs: int | None
    image_size: int
    num_classes: int
    stem: tuple[str, ...]
    shortcuts: int
    blocks: int
    classifier: str | None
    no_fit: tuple[tuple[str, str], ...]


def describe_model(name: str, tricks: Sequence[Trick] | None = None) -> ModelCard:
    """The card of a model; `tricks` to try on it, the bundled ones by default.

    Nothing is trained, and it happens on the meta device.
    """
    info = model_info(name)
    size = model_image_size(name) or (_SMALL_SIZE if _is_small(name) else _IMAGE_SIZE)
    model = _on_meta(name)
    found = handles(model)
    if tricks is None:
        tricks = tuple(_bundled())
    return ModelCard(
        name=name,
        family=info.family,
        summary=info.summary,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=multiply_adds(model, size),
        image_size=size,
        num_classes=_NUM_CLASSES,
        stem=found.stem.convs if found.stem is not None else (),
        shortcuts=len(found.shortcuts),
        blocks=len(found.blocks),
        classifier=found.classifier,
        no_fit=tuple(_no_fit(name, tricks)),
    )


def multiply_adds(model: nn.Module, size: int) -> int | None:
    """Multiply-adds of one image [1, 3, size, size] through a meta-device model, in eval mode.

    Convolutions and matrix products count, norms and activations do not, as is the field's habit.
    None if some operation of the model has no meta implementation or `size` is too small for it.
    """
    training = model.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            model.eval()(torch.empty(1, 3, size, size, device="meta"))
    except (NotImplementedError, RuntimeError):
        return None
    finally:
        model.train(training)
    return int(counter.get_total_flops()) // 2


def _is_small(name: str) -> bool:
    info = model_info(name)
    return info.family.startswith("CIFAR") or (info.family == "ResNet" and name.endswith("_small"))


def _on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, _NUM_CLASSES)


def _bundled() -> Iterator[Trick]:
    from ablate.tricks.discovery import load_catalogue

    for loaded in load_catalogue(bundled_only=True).load_all():
        if isinstance(loaded, AblateError):
            continue  # `ablate tricks` and `doctor` say so
        if all(not field.is_required() for field in loaded.cls.model_fields.values()):
            yield loaded.cls()


def _no_fit(name: str, tricks: Sequence[Trick]) -> Iterator[tuple[str, str]]:
    """The tricks that refuse this model, each tried alone."""
    recipe = Recipe.model_validate({"model": name})
    for trick in tricks:
        hooks = Hooks((trick,))
        acting = [
            hook for hook in ("build_model", "init_model", "param_groups") if hooks.acting[hook]
        ]
        if not acting:
            continue
        try:
            with torch.device("meta"):
                model = hooks.build_model(recipe=recipe, num_classes=_NUM_CLASSES)
                if "init_model" in acting:
                    model = hooks.init_model(model=model, seed=0)
                if "param_groups" in acting:
                    hooks.param_groups(model=model, recipe=recipe)
        except NoEffect as error:
            yield trick.name, error.message.split(" has no effect: ", 1)[-1]
