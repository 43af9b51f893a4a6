"""A trial's hooks, bound once: ordered, checked, and blaming the right trick.

pluggy validates and registers; calling goes through these chains, because pluggy runs
implementations last-in-first-out, lets a forgotten `return` fall through to the next one, and
cannot say whose result was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ablate.core.recipe import Recipe
from ablate.errors import (
    AblateError,
    Diverged,
    Interrupted,
    NoEffect,
    TrickError,
    brief,
    ctrl_c_ignored,
)
from ablate.hookspecs import HOOKS
from ablate.tricks.base import Trick
from ablate.tricks.guard import contained
from ablate.tricks.ordering import Implementation, implementations, register
from ablate.tricks.return_checks import checker
from ablate.util import heartbeat

Call = Callable[..., Any]
Check = Callable[[Any, tuple[Any, ...]], str | None]
Around = Callable[[str, Implementation, bool], Implementation]  # of a hook; whether it wraps

# What passes through unchanged: not the trick's fault, or already explained.
_PASSING = (AblateError, Interrupted, Diverged)


def _passes(error: BaseException) -> bool:
    """Whether it is not the trick's fault. Ctrl-C is a person's, unless the process ignores it, as
    those that train do: what is raised there, and `sys.exit` anywhere, the trick has raised."""
    if isinstance(error, KeyboardInterrupt):
        return not ctrl_c_ignored()
    return isinstance(error, _PASSING)


class Hooks:
    """`hooks.encode_targets(labels, num_classes)` and so on, arguments in the spec's order.

    `acting[hook]` names the tricks that implement it, innermost first, a replacement marked `*`.
    `may_idle` names tricks whose NoEffect is passed over: members of a bundle, of which it is
    enough that one acts. `around` may replace implementations, by ones that are timed.
    """

    def __init__(
        self,
        tricks: Sequence[Trick],
        default: object | None = None,
        *,
        may_idle: frozenset[str] = frozenset(),
        around: Around | None = None,
    ) -> None:
        if default is None:
            from ablate.baseline import Baseline

            default = Baseline()
        manager = register(tricks)
        self.tricks = tuple(tricks)
        self.acting: dict[str, tuple[str, ...]] = {}
        self._default = default
        for hook, info in HOOKS.items():
            plain, wrappers = implementations(manager, hook)
            if around is not None:
                plain = [around(hook, impl, False) for impl in plain]
                wrappers = [around(hook, impl, True) for impl in wrappers]
            self.acting[hook] = (
                *(f"{impl.trick.name} *" for impl in plain if info.kind == "replaceable"),
                *(impl.trick.name for impl in plain if info.kind != "replaceable"),
                *(impl.trick.name for impl in wrappers),
            )
            calls = [_guarded(hook, impl) for impl in plain]
            base = getattr(default, hook, None)
            if info.kind == "replaceable":
                if len(calls) > 1:
                    names = " and ".join(impl.trick.name for impl in plain)
                    raise AblateError(f"{names} replace {hook}")
                chain = calls[0] if calls else base
                assert chain is not None, f"no default for {hook}"
                if hook == "forward" and not calls and self.acting["build_model"]:
                    chain = _of_a_model(chain, self.acting["build_model"])
                for impl in wrappers:
                    chain = _wrapped(hook, impl, chain, impl.trick.name in may_idle)
            else:
                chain = _each(([base] if base is not None else []) + calls)
            setattr(self, hook, _keywords(chain, info.arguments))

    def __getattr__(self, name: str) -> Call:  # for the type checker: attributes are set above
        raise AttributeError(name)


def resolve_recipe(tricks: Sequence[Trick], recipe: Recipe) -> Recipe:
    """The recipe after every trick's `resolve_recipe`. Needs no torch."""
    hooks = Hooks(tricks)
    if not hooks.acting["resolve_recipe"]:
        plain: Recipe = hooks.resolve_recipe(recipe)
        return plain
    with contained(f"resolve_recipe of {', '.join(hooks.acting['resolve_recipe'])}"):
        resolved: Recipe = hooks.resolve_recipe(recipe)
    return resolved


def _keywords(chain: Call, arguments: tuple[str, ...]) -> Call:
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            args = (*args, *(kwargs.pop(name) for name in arguments[len(args) :]))
            if kwargs:
                raise TypeError(f"unknown arguments: {', '.join(kwargs)}")
        return chain(*args)

    return call


def _each(calls: list[Call]) -> Call:
    def call(*args: Any) -> list[Any]:
        return [one(*args) for one in calls]

    return call


def _picked(hook: str, impl: Implementation) -> Call:
    """The implementation, called with the arguments that it names."""
    function = impl.function
    wanted = tuple(HOOKS[hook].arguments.index(name) for name in impl.arguments)
    if wanted == tuple(range(len(HOOKS[hook].arguments))):
        return function
    return lambda *args: function(*[args[i] for i in wanted])


def _guarded(hook: str, impl: Implementation) -> Call:
    """A plain implementation whose errors and results name its trick."""
    function, name, check = _picked(hook, impl), impl.trick.name, _checking(hook)
    here, place = heartbeat.here, heartbeat.in_hook(name, hook)

    def call(*args: Any) -> Any:
        before = here.enter(place)
        try:
            value = function(*args)
        except BaseException as error:  # whatever a trick raises is reported under its name
            if _passes(error):
                raise
            raise _blamed(name, hook, error) from error
        finally:
            here.leave(before)
        if (wrong := check(value, args)) is not None:
            raise TrickError(name, hook, wrong)
        return value

    return call


def _of_a_model(forward: Call, acting: tuple[str, ...]) -> Call:
    """The default forward, of a model that tricks have built: its outputs' shape is theirs."""
    names, check = " with ".join(name.removesuffix(" *") for name in acting), _checking("forward")

    def call(*args: Any) -> Any:
        value = forward(*args)
        if (wrong := check(value, args)) is not None:
            raise TrickError(names, "build_model", f"its model {wrong}")
        return value

    return call


def _wrapped(hook: str, impl: Implementation, inner: Call, may_idle: bool) -> Call:
    """A wrapper around `inner`; its code after `yield` runs also when something inside raised."""
    function, name, check = _picked(hook, impl), impl.trick.name, _checking(hook)
    here, place = heartbeat.here, heartbeat.in_hook(name, hook)

    def resume(run: Call, *args: Any) -> Any:
        before = here.enter(place)
        try:
            return run(*args)
        finally:
            here.leave(before)

    def finished(stop: StopIteration, args: tuple[Any, ...]) -> Any:
        if (wrong := check(stop.value, args)) is not None:
            raise TrickError(name, hook, wrong)
        return stop.value

    def call(*args: Any) -> Any:
        generator = function(*args)
        try:
            resume(next, generator)
        except NoEffect:
            if may_idle:
                return inner(*args)
            raise
        except StopIteration:
            raise TrickError(name, hook, "a wrapper must `yield` once; it never did") from None
        except BaseException as error:  # as in _guarded
            if _passes(error):
                raise
            raise _blamed(name, hook, error) from error
        try:
            value = inner(*args)
        except BaseException as error:
            try:
                resume(generator.throw, error)
            except StopIteration as stop:
                return finished(stop, args)
            except BaseException as raised:
                if raised is error or _passes(raised):
                    raise
                raise _blamed(name, hook, raised) from raised
            raise TrickError(name, hook, "a wrapper must `yield` once; it did twice") from error
        try:
            resume(generator.send, value)
        except NoEffect:
            if may_idle:
                return value
            raise
        except StopIteration as stop:
            return finished(stop, args)
        except BaseException as error:  # as in _guarded
            if _passes(error):
                raise
            raise _blamed(name, hook, error) from error
        generator.close()
        raise TrickError(name, hook, "a wrapper must `yield` once; it did twice")

    return call


@contextmanager
def blaming(trick: str, hook: str) -> Iterator[None]:
    """Name the trick in whatever is raised inside: for what a hook returned to be called later."""
    if not trick:  # the baseline's own
        yield
        return
    before = heartbeat.here.enter(heartbeat.in_hook(trick, hook))
    try:
        yield
    except BaseException as error:
        if _passes(error):  # nobody's fault
            raise
        raise _blamed(trick, hook, error) from error
    finally:
        heartbeat.here.leave(before)


def _checking(hook: str) -> Check:
    """What the hook's check says, of a value that it cannot even look at, too."""
    check = checker(hook)

    def checked(value: Any, args: tuple[Any, ...]) -> str | None:
        try:
            return check(value, args)
        except Exception as error:  # noqa: BLE001 - a trick's own classes may raise anything
            return f"returned what cannot be checked: {brief(error)}"

    return checked


def _blamed(name: str, hook: str, error: BaseException) -> TrickError:
    return TrickError(name, hook, brief(error))
