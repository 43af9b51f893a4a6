"""Handles for surgery: where a model has its stem, residual blocks, shortcuts and classifier.

Found by structure and torchvision's attribute names, not by class, so that any depth, torchvision's
ResNeXt, wide ResNets and RegNets, timm's ResNets and what surgery made of them all answer alike.
What does not fit the pattern exactly is not reported: a trick then has nothing to act on and says
so, instead of acting on a guess. Works on the meta device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

__all__ = [
    "Block",
    "Handles",
    "Shortcut",
    "Stem",
    "attach",
    "conv_like",
    "handles",
    "replace",
]

# What residual modules call the module on their shortcut; None or an empty Sequential is identity.
_SHORTCUT_NAMES = ("downsample", "proj", "shortcut")
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_MISSING = object()


@dataclass(frozen=True)
class Shortcut:
    """A projection: what a residual block adds its output to where shapes change.

    name: of the module on the shortcut; conv: of its only convolution.
    """

    name: str
    conv: str


@dataclass(frozen=True)
class Block:
    """A residual block: relu(path(x) + shortcut(x)); names are qualified, as in state_dict.

    convs: the path's convolutions in order, without those of side branches such as squeeze and
    excitation. last_norm: the norm after the last of them. shortcut: None for identity. stride: of
    all the path's convolutions. end: the layer whose output is added to the shortcut's. branches:
    the path's side branches, modules with parameters of their own.
    """

    name: str
    module: nn.Module
    convs: tuple[str, ...]
    last_norm: str
    shortcut: Shortcut | None
    stride: int
    end: str
    branches: tuple[str, ...]


@dataclass(frozen=True)
class Stem:
    """The layers before the first residual block, and which of them are convolutions."""

    layers: tuple[str, ...]
    convs: tuple[str, ...]


@dataclass(frozen=True)
class Handles:
    """Where to operate. `stem` is None and `blocks` empty on a model without residual blocks."""

    stem: Stem | None
    blocks: tuple[Block, ...]
    classifier: str | None

    @property
    def shortcuts(self) -> tuple[Shortcut, ...]:
        """The shortcuts that project, in order."""
        return tuple(block.shortcut for block in self.blocks if block.shortcut is not None)


def handles(model: nn.Module) -> Handles:
    """The handles of a model as it is now; ask again after surgery."""
    blocks: list[Block] = []
    for name, module in model.named_modules():
        if blocks and name.startswith(f"{blocks[-1].name}."):
            continue
        if name and (block := _block(name, module)) is not None:
            blocks.append(block)
    return Handles(_stem(model, blocks), tuple(blocks), _classifier(model))


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the one called `name`, in its train or eval mode."""
    module.train(model.get_submodule(name).training)
    model.set_submodule(name, module)


def attach(
    model: nn.Module, name: str, key: str, layer: nn.Module, *, before: bool = False
) -> None:
    """Let what the module called `name` returns, or `before` that is given, pass through `layer`.

    `layer` becomes its child `key`. No other layer gets another name, and so none other initial
    weights. Several layers behind one module act in the order in which they were attached.
    """
    host = model.get_submodule(name)
    if hasattr(host, key):
        raise ValueError(f"{name} has a '{key}' already")
    layer.train(host.training)
    host.add_module(key, layer)
    if before:
        host.register_forward_pre_hook(partial(_enter, key))
    else:
        host.register_forward_hook(partial(_leave, key))


def _enter(key: str, host: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (host.get_submodule(key)(inputs[0]), *inputs[1:])


def _leave(key: str, host: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    return host.get_submodule(key)(output)


def conv_like(conv: nn.Conv2d, **changes: Any) -> nn.Conv2d:
    """A convolution with `conv`'s settings, except for `changes`; on its device, weights unset.

    Weights are left unset because `init_model` runs after all surgery; so no generator moves.
    ValueError for a subclass, as a layer with weight norm or standardisation is: what it does more
    would be lost.
    """
    if type(conv) is not nn.Conv2d:
        raise ValueError(
            f"a {type(conv).__name__} would be replaced by a plain Conv2d, and what it does "
            "besides would be lost"
        )
    settings: dict[str, Any] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias is not None,
        "padding_mode": conv.padding_mode,
    }
    settings.update(changes)
    new = nn.Conv2d(**settings, device="meta", dtype=conv.weight.dtype)
    new.to_empty(device=conv.weight.device)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.zero_()
    return new


def _path(prefix: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that a module runs one after the other: its children, Sequentials opened.

    Other containers are side branches or nested blocks and stay closed.
    """
    layers: list[tuple[str, nn.Module]] = []
    for child_name, child in module.named_children():
        name = f"{prefix}.{child_name}"
        if isinstance(child, nn.Sequential):
            layers += _path(name, child)
        else:
            layers.append((name, child))
    return layers


def _block(name: str, module: nn.Module) -> Block | None:
    held = [n for n in _SHORTCUT_NAMES if getattr(module, n, _MISSING) is not _MISSING]
    if len(held) != 1 or isinstance(module, nn.Sequential):
        return None
    side = getattr(module, held[0])
    if side is not None and not isinstance(side, nn.Module):
        return None
    layers = [
        (n, layer)
        for n, layer in _path(name, module)
        if n != f"{name}.{held[0]}" and not n.startswith(f"{name}.{held[0]}.")
    ]
    steps = [(n, layer) for n, layer in layers if isinstance(layer, (nn.Conv2d, *_NORMS))]
    convs = [(n, layer) for n, layer in steps if isinstance(layer, nn.Conv2d)]
    norms = steps[1::2]
    # Convolution and norm in turn, twice or more: not so where a norm comes first (pre-activation,
    # whose last norm is no residual's scale) or where the layers are something else.
    if len(convs) < 2 or len(steps) != 2 * len(convs) or steps[0::2] != convs:
        return None
    first, last = convs[0][1], convs[-1][1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    stride = 1
    for _, conv in convs:
        assert isinstance(conv, nn.Conv2d)
        stride *= conv.stride[0]
    shortcut = None
    if side is not None and list(side.parameters()):
        shortcut = _projection(f"{name}.{held[0]}", side, first.in_channels, last.out_channels)
        if shortcut is None:
            return None
    elif side is None and first.in_channels != last.out_channels:
        return None
    last_norm = norms[-1][0]
    return Block(
        name,
        module,
        convs=tuple(n for n, _ in convs),
        last_norm=last_norm,
        shortcut=shortcut,
        stride=stride,
        end=_end(layers, last_norm),
        branches=tuple(_branches(layers)),
    )


def _is_branch(module: nn.Module) -> bool:
    return bool(list(module.children())) and bool(list(module.parameters()))


def _end(layers: Sequence[tuple[str, nn.Module]], last_norm: str) -> str:
    """The last norm, or the side branch behind it; an activation there may act after the sum."""
    behind = layers[[n for n, _ in layers].index(last_norm) + 1 :]
    return [last_norm, *(n for n, layer in behind if _is_branch(layer))][-1]


def _branches(layers: Sequence[tuple[str, nn.Module]]) -> Iterator[str]:
    for name, layer in layers:
        own = isinstance(layer, (nn.Conv2d, *_NORMS))
        inside = [(f"{name}.{n}", child) for n, child in layer.named_children()] if own else []
        yield from (n for n, m in (inside if own else [(name, layer)]) if _is_branch(m))


def _projection(name: str, side: nn.Module, inputs: int, outputs: int) -> Shortcut | None:
    convs = [(n, m) for n, m in side.named_modules(prefix=name) if isinstance(m, nn.Conv2d)]
    if len(convs) != 1:
        return None
    conv_name, conv = convs[0]
    fits = conv.in_channels == inputs and conv.out_channels == outputs
    return Shortcut(name, conv_name) if fits else None


def _leaves(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in model.named_modules() if n and not list(m.children())]


def _stem(model: nn.Module, blocks: list[Block]) -> Stem | None:
    if not blocks:
        return None
    order = {name: index for index, (name, _) in enumerate(model.named_modules())}
    before = [(n, m) for n, m in _leaves(model) if order[n] < order[blocks[0].name]]
    convs = tuple(n for n, m in before if isinstance(m, nn.Conv2d))
    return Stem(tuple(n for n, _ in before), convs) if convs else None


def _classifier(model: nn.Module) -> str | None:
    """The last layer with parameters, if it is linear."""
    weighted = [(n, m) for n, m in model.named_modules() if list(m.parameters(recurse=False))]
    if not weighted:
        return None
    name, last = weighted[-1]
    return name if isinstance(last, nn.Linear) and name else None
