"""Which tricks fit together, and in which order their implementations run.

The order is canonical, the same for every order in a study: within a hook by slot, then by the
`before` and `after` tags, then by name; innermost first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import isgeneratorfunction, signature
from typing import Any
from weakref import WeakKeyDictionary

import pluggy

from ablate.errors import AblateError, did_you_mean
from ablate.hookspecs import HOOKS, SLOTS, HookSpecs
from ablate.tricks.base import Trick
from ablate.tricks.places import place


class _Manager(pluggy.PluginManager):
    """pluggy, told to look at the class only: reading a pydantic instance's attributes warns.

    A study is planned with thousands of these, and pluggy asks for every attribute of every trick:
    what a class marks is looked up once.
    """

    _marked: Mapping[str, Any]  # of the trick that is being registered

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        self._marked = _marks(type(plugin))
        return super().register(plugin, name)

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return self._marked.get(name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        if name not in _SPECS:
            _SPECS[name] = super().parse_hookspec_opts(module_or_class, name)
        return _SPECS[name]


_SPECS: dict[str, Any] = {}  # of `HookSpecs`, the only class with any
_MARKS: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()


def _marks(cls: type) -> dict[str, Any]:
    """Options of every method that is marked as a hook's, in the order of their names."""
    if cls not in _MARKS:
        found: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                found[name] = getattr(value, "ablate_impl", None)
        _MARKS[cls] = {name: found[name] for name in sorted(found) if found[name]}
    return _MARKS[cls]


def register(tricks: Sequence[Trick]) -> pluggy.PluginManager:
    """A plugin manager with these tricks, every implementation checked against its spec."""
    manager = _Manager("ablate")
    manager.add_hookspecs(HookSpecs)
    for trick in tricks:
        marked = _marks(type(trick))
        if not marked:
            raise AblateError(f"trick '{trick.name}' implements no hook")
        for name in marked:
            if wrong := _misfit(type(trick), name):
                raise AblateError(
                    f"trick '{trick.name}' {wrong}{place(getattr(type(trick), name))}"
                )
        if isinstance(trick.slot, str) and marked:
            slots = [slot for name in marked for slot in SLOTS.get(name, ())]
            if trick.slot not in slots:
                raise AblateError(
                    f"trick '{trick.name}': slot '{trick.slot}' is none of its hooks'"
                    f"{did_you_mean(trick.slot, slots)}"
                )
        try:
            # Registered by identity: two configurations of one class are two plugins.
            manager.register(trick, name=f"{trick.name}-{id(trick)}")
        except pluggy.PluginValidationError as error:
            reason = str(error).splitlines()[-1]
            raise AblateError(f"trick '{trick.name}': {reason}") from error
    return manager


def _misfit(cls: type[Trick], name: str) -> str | None:
    """Why the method cannot implement the hook of its name; None if it can."""
    if name not in HOOKS:
        return f"implements '{name}', which is no hook{did_you_mean(name, list(HOOKS))}"
    function = getattr(cls, name)
    known = HOOKS[name].arguments
    if function.ablate_impl["hookwrapper"]:
        return f"implements {name} with hookwrapper=True: use @hookimpl(wrapper=True)"
    for argument in list(signature(function).parameters)[1:]:
        if argument not in known:
            return f"implements {name} with '{argument}', which is no argument of it" + (
                did_you_mean(argument, known)
            )
    if function.ablate_impl["wrapper"]:
        if HOOKS[name].kind != "replaceable":
            return f"wraps {name}, which is {HOOKS[name].kind}: use @hookimpl without wrapper=True"
        if not isgeneratorfunction(function):
            return (
                f"wraps {name} without a `yield` in it: `value = yield` gives what the inner ones "
                "return"
            )
    elif isgeneratorfunction(function):
        if HOOKS[name].kind == "replaceable":
            return f"implements {name} with a `yield`: use @hookimpl(wrapper=True)"
        return f"implements {name} with a `yield`, but it is {HOOKS[name].kind}: nothing is wrapped"
    return None


@dataclass(frozen=True)
class Implementation:
    """One trick's implementation of a hook; `arguments` are those it names."""

    trick: Trick
    function: Callable[..., Any]
    arguments: tuple[str, ...]


def implementations(
    manager: pluggy.PluginManager, hook: str
) -> tuple[list[Implementation], list[Implementation]]:
    """(plain implementations, wrappers) of a hook, each in canonical order, innermost first."""
    kinds: tuple[list[Implementation], list[Implementation]] = ([], [])
    for impl in getattr(manager.hook, hook).get_hookimpls():
        kinds[impl.wrapper].append(Implementation(impl.plugin, impl.function, tuple(impl.argnames)))
    return _sorted(hook, kinds[False]), _sorted(hook, kinds[True])


def stack_problems(tricks: Sequence[Trick]) -> list[str]:
    """Why these tricks cannot stand in one row, one line each; empty if they can."""
    problems = []
    seen: dict[str, Trick] = {}
    for trick in tricks:
        if trick.name in seen:
            problems.append(f"{trick.name} is in the row twice")
        seen[trick.name] = trick
    if problems:
        return problems
    manager = register(tricks)
    for hook, info in HOOKS.items():
        plain, _ = implementations(manager, hook)
        if info.kind == "replaceable" and len(plain) > 1:
            replacing = [impl.trick for impl in plain]
            problems.append(f"{_named(replacing)} replace {hook}")
    problems += _tag_problems(tricks)
    return problems


def _tag_problems(tricks: Sequence[Trick]) -> Iterator[str]:
    provided = {tag: trick for trick in tricks for tag in trick.provides}
    for trick in tricks:
        for tag in sorted(trick.requires - provided.keys()):
            yield f"{trick.name} needs a trick that provides '{tag}', and none in the row does"
        for tag in sorted(trick.conflicts & provided.keys()):
            if provided[tag] is not trick:
                yield f"{_named([trick, provided[tag]])} conflict over '{tag}'"
    for tag in sorted({tag for trick in tricks for tag in trick.exclusive}):
        claiming = [trick for trick in tricks if tag in trick.exclusive]
        if len(claiming) > 1:
            yield f"{_named(claiming)} exclude each other ('{tag}')"


def _named(tricks: Sequence[Trick]) -> str:
    """ "adamw and rmsprop (both ablate-study)"."""
    ordered = sorted(tricks, key=lambda trick: trick.name)
    origins = {trick.origin for trick in ordered}
    if len(origins) == 1:
        count = "both" if len(ordered) == 2 else "all"
        origin = origins.pop()
        return " and ".join(trick.name for trick in ordered) + (
            f" ({count} {origin})" if origin else ""
        )
    return " and ".join(f"{trick.name} ({trick.origin})" for trick in ordered)


def slot_index(trick: Trick, hook: str) -> int:
    """Where the trick's implementation of `hook` stands; without a slot, in the last."""
    slots = SLOTS.get(hook, ("",))
    declared = trick.slot if isinstance(trick.slot, str) else trick.slot.get(hook)
    if declared is None or (isinstance(trick.slot, str) and declared not in slots):
        return len(slots) - 1
    if declared not in slots:
        raise AblateError(
            f"trick '{trick.name}': {hook} has no slot '{declared}'{did_you_mean(declared, slots)}"
        )
    return slots.index(declared)


def _sorted(hook: str, impls: Sequence[Implementation]) -> list[Implementation]:
    by_slot: dict[int, list[Implementation]] = {}
    for impl in impls:
        by_slot.setdefault(slot_index(impl.trick, hook), []).append(impl)
    return [impl for slot in sorted(by_slot) for impl in _by_tags(hook, by_slot[slot])]


def _by_tags(hook: str, impls: Sequence[Implementation]) -> list[Implementation]:
    """Topological order by `before`/`after`, ties by name (Kahn's algorithm with a heap)."""
    names = {impl.trick.name: impl for impl in impls}
    edges = {
        (first.name, then.name)
        for first in (impl.trick for impl in impls)
        for then in (impl.trick for impl in impls)
        if first is not then and (first.before & then.provides or then.after & first.provides)
    }
    waiting = {name: sum(1 for _, then in edges if then == name) for name in names}
    ready = [name for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        name = heapq.heappop(ready)
        ordered.append(names[name])
        for first, then in edges:
            if first == name:
                waiting[then] -= 1
                if waiting[then] == 0:
                    heapq.heappush(ready, then)
    if len(ordered) < len(names):
        left = names.keys() - {impl.trick.name for impl in ordered}
        cycle = ", ".join(f"{a} before {b}" for a, b in sorted(edges) if a in left and b in left)
        raise AblateError(f"{hook}: no order is possible: {cycle}")
    return ordered
