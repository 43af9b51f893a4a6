"""`model(images)` compiled: one function of its own for every distinct graph.

torch.compile keeps what it compiled by code object and gives up on one that has seen too many
graphs, in silence. So every graph (an architecture at one shape, memory format, number format and
mode) gets a copy of the model's `forward`; hooks, loss and optimizer stay outside. A process keeps
the copies from trial to trial; processes share inductor's files, and a lock for each graph lets one
of them compile while the others wait to read.

torch._dynamo and torch._inductor are imported where they are needed: they take seconds.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ablate.errors import AblateError, brief
from ablate.util.locks import locked

log = logging.getLogger("ablate.trial")

_FUNCTIONS: dict[str, Callable[[nn.Module, Tensor], Any]] = {}  # of this process, by graph
_NUMBERS = itertools.count()
_BACKEND: Any = "inductor"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass
class Graphs:
    """The graphs that one trial used.

    used: how each came, by its key: "compiled", "cached" (another process had compiled it) or
    "warm" (this one had). seconds: of their first calls, one forward pass included. broken: graphs
    more than one to a model, where torch could not trace it as a whole.
    """

    used: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    broken: int = 0
    traced: int = 0
    _before: int = 0

    @property
    def recompiled(self) -> int:
        """Graphs that torch made beyond these: what it took for one was several."""
        return max(_traced() - self._before - self.traced, 0)

    def summary(self) -> dict[str, Any]:
        """For the record of a trial."""
        return {
            "graphs": len(self.used),
            "graph_keys": sorted(self.used),
            "compiled": sum(how == "compiled" for how in self.used.values()),
            "recompiled": self.recompiled,
            "graph_breaks": self.broken,
            "compile_seconds": round(self.seconds, 3),
        }


_counting = [Graphs()]  # the last is that of the trial that runs


def count() -> Graphs:
    """Count the graphs that are used from here on."""
    _counting[:] = [Graphs(_before=_traced())]
    return _counting[-1]


def compile_forward(model: nn.Module, name: str) -> None:
    """Let `model(images)` run compiled from here on, in training and in evaluation.

    name: for messages. Copies of the model are compiled too. A model whose instance has a `forward`
    of its own stays as it is, which the log says.
    """
    if "forward" in model.__dict__:
        log.warning("%s has a forward of its own instance: it is not compiled", name)
        return
    # A bound method: copy.deepcopy binds the copy's to the copy.
    model.__dict__["forward"] = MethodType(_Forward(name), model)


def prepare() -> None:
    """Import what every compiled trial needs, and say how torch's compiler shall behave.

    What it changes in torch when it first compiles is changed here: the first trial of a process
    would otherwise seem to have left that behind.
    """
    # It warns of a missing GPU, where there need not be one, when it is imported.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import torch._dynamo as dynamo
    import torch._inductor.compile_fx
    import torch._inductor.cpp_builder
    import torch.export._trace
    import torch.utils.cpp_extension

    # A trick's layer may hang in a forward hook, and a graph without it is another graph.
    dynamo.config.skip_nnmodule_hook_guards = False
    # Were a limit reached, torch would go on without compiling and say nothing.
    dynamo.config.cache_size_limit = 64
    torch.compile(torch.relu, backend="eager")(torch.zeros(1))


class _Forward:
    """What stands in for a model's `forward`: called with the model itself, and images."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._functions: dict[tuple[Any, ...], Callable[[nn.Module, Tensor], Any]] = {}
        self._model = ""  # what the model is, known from its first call on

    def __call__(self, model: nn.Module, images: Tensor) -> Any:
        kind = images.device.type
        key = (
            images.shape,
            images.stride(),
            images.dtype,
            model.training,
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None,
        )
        function = self._functions.get(key)
        if function is not None:
            return function(model, images)
        self._model = self._model or signature(model)
        graph = hashlib.sha256(f"{self._model} {kind} {key}".encode()).hexdigest()[:16]
        began = time.perf_counter()
        result = self._first(graph, model, images)
        _counting[-1].seconds += time.perf_counter() - began
        self._functions[key] = _FUNCTIONS[graph]
        return result

    def _first(self, graph: str, model: nn.Module, images: Tensor) -> Any:
        if graph in _FUNCTIONS:
            _counting[-1].used.setdefault(graph, "warm")
            return _FUNCTIONS[graph](model, images)
        place = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        with locked(Path(place) / f"{graph}.lock") if place else nullcontext():
            traced, compiled = _traced(), _compiled()
            result = self._made(graph, model, images)
            traced, compiled = _traced() - traced, _compiled() - compiled
        _counting[-1].used[graph] = "compiled" if compiled else "cached"
        _counting[-1].traced += traced
        _counting[-1].broken += max(traced - 1, 0)
        if traced > 1:
            log.warning("%s: torch could not trace it as a whole: %d graphs", self._name, traced)
        return result

    def _made(self, graph: str, model: nn.Module, images: Tensor) -> Any:
        from torch._dynamo.exc import TorchDynamoException, Unsupported, UserError

        def attempt(whole: bool) -> Any:
            copied = _copy(type(model).forward, graph)
            function = torch.compile(copied, dynamic=False, fullgraph=whole, backend=_BACKEND)
            result = function(model, images)
            _FUNCTIONS[graph] = function
            return result

        try:
            try:
                return attempt(whole=True)
            except (Unsupported, UserError) as error:
                log.warning("%s: %s", self._name, brief(error))
                return attempt(whole=False)
        except TorchDynamoException as error:
            raise AblateError(
                f'{self._name} does not compile, numerics = "exact" trains it without: '
                f"{brief(error)}"
            ) from error


def _copy(forward: Callable[..., Any], graph: str) -> Callable[..., Any]:
    """The same function with a code object of its own, named after the graph."""
    if not isinstance(forward, FunctionType):  # some callable: called from a function of ours
        original = forward

        def forward(model: nn.Module, images: Tensor) -> Any:
            return original(model, images)

    code = forward.__code__.replace(co_name=f"forward_{graph}")
    copied = FunctionType(
        code, forward.__globals__, code.co_name, forward.__defaults__, forward.__closure__
    )
    copied.__kwdefaults__ = forward.__kwdefaults__
    return copied


def signature(model: nn.Module) -> str:
    """What of a model decides its graph: layers, their settings and hooks, shapes of tensors.

    Equal for two models only if one's compiled forward is the other's. Too fine is harmless: torch
    finds what it compiled by the graph itself.
    """
    parts: list[Any] = [f"{type(model).__module__}.{type(model).__qualname__}", repr(model)]
    for name, module in model.named_modules():
        plain = {
            k: v
            for k, v in vars(module).items()
            if k != "training" and isinstance(v, bool | int | float | str | tuple)
        }
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        parts.append((name, type(module).__qualname__, plain, [_hook(hook) for hook in hooks]))
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        parts.append((name, tuple(tensor.shape), tensor.stride(), tensor.dtype))
        parts.append(tensor.requires_grad)
    text = _ADDRESS.sub("", repr(parts))
    return hashlib.sha256(text.encode()).hexdigest()


def _hook(hook: Any) -> str:
    """What a hook does, where that can be told; else a number that no other model has."""
    if isinstance(hook, partial):
        given = (*hook.args, *sorted(hook.keywords.items()))
        if all(isinstance(a, bool | int | float | str | tuple) for a in given):
            return f"{_hook(hook.func)} {given}"
    elif isinstance(hook, FunctionType) and hook.__closure__ is None:
        return f"{hook.__module__}.{hook.__qualname__}"
    return f"hook {next(_NUMBERS)}"


def _traced() -> int:
    """Graphs that torch has made in this process."""
    return _counter("stats", "unique_graphs")


def _compiled() -> int:
    """Graphs, or their halves, that were generated anew because no cache had them."""
    return sum(
        _counter(group, name)
        for group, name in (
            ("inductor", "fxgraph_cache_miss"),
            ("inductor", "fxgraph_cache_bypass"),
        )
    )


def _counter(group: str, name: str) -> int:
    import sys

    utils = sys.modules.get("torch._dynamo.utils")
    return int(utils.counters[group][name]) if utils is not None else 0
