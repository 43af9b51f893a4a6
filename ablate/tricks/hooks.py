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
    did_you_mean,
)
from ablate.hookspecs import HOOKS
from ablate.tricks.base import Trick
from ablate.tricks.blame import blamed, unsaved
from ablate.tricks.guard import contained
from ablate.tricks.ordering import Implementation, implementations, register
from ablate.tricks.places import place, standing
from ablate.tricks.return_checks import checker
from ablate.util import heartbeat

Call = Callable[..., Any]
Check = Callable[[Any, tuple[Any, ...]], str | None]
Around = Callable[[str, Implementation, bool], Implementation]  # of a hook; whether it wraps

_ONCE = "a wrapper must `yield` once (value = yield, then return it, changed)"
# What passes through unchanged: not the trick's fault, or already explained.
_PASSING = (AblateError, Interrupted, Diverged)


def _passes(error: BaseException) -> bool:
    """Whether it is not the trick's fault. Ctrl-C is a person's, unless the process ignores it, as
    those that train do: what is raised there, and `sys.exit` anywhere, the trick has raised."""
    if isinstance(error, KeyboardInterrupt):
        return not ctrl_c_ignored()
    return isinstance(error, _PASSING)


class Hooks:
    """Some tricks' hooks, each called as the engine calls it, on top of the baseline.

    `hooks.encode_targets(labels, num_classes)` and so on, arguments in the spec's order or by name.
    A replaceable hook gives its value, a collected one a list with each trick's, a notification a
    list of None. What no implementation of those two kinds names may be left out:
    `Hooks([trick]).extra_losses(outputs=outputs)`. Raises TrickError as a training would.

    `acting[hook]` names the tricks that implement it, innermost first, a replacement marked `*`.
    `may_idle` names tricks whose NoEffect is passed over: members of a bundle, of which it is
    enough that one acts. `around` may replace implementations, by ones that are timed. `resumed` is
    set where a trial goes on from a checkpoint: what is then said of an error.
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
        self.resumed = False
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
            calls = [_guarded(hook, impl, self._more) for impl in plain]
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
                    chain = _wrapped(hook, impl, chain, impl.trick.name in may_idle, self._more)
            else:
                chain = _each(([base] if base is not None else []) + calls)
                if hook in ("extra_losses", "extra_metrics") and len(calls) > 1:
                    chain = _apart(hook, chain, [impl.trick.name for impl in plain])
            used = {name for impl in plain for name in impl.arguments}
            if base is not None or info.kind == "replaceable":
                used.update(info.arguments)
            setattr(self, hook, _keywords(hook, chain, frozenset(used)))

    def _more(self, trick: Trick) -> str:
        return unsaved(trick) if self.resumed else ""

    def __getattr__(self, name: str) -> Call:  # for the type checker: attributes are set above
        known = [] if name.startswith("_") else list(HOOKS)  # copy and pickle ask for others
        raise AttributeError(f"'{name}' is no hook{did_you_mean(name, known)}")

    def behind(self, hook: str) -> str:
        """The tricks behind what a hook returned, "" for the baseline alone."""
        return " with ".join(name.removesuffix(" *") for name in self.acting[hook])


def resolve_recipe(tricks: Sequence[Trick], recipe: Recipe) -> Recipe:
    """The recipe after every trick's `resolve_recipe`. Needs no torch."""
    hooks = Hooks(tricks)
    if not hooks.acting["resolve_recipe"]:
        plain: Recipe = hooks.resolve_recipe(recipe)
        return plain
    with contained(f"resolve_recipe of {', '.join(hooks.acting['resolve_recipe'])}"):
        resolved: Recipe = hooks.resolve_recipe(recipe)
    return resolved


def _keywords(hook: str, chain: Call, used: frozenset[str]) -> Call:
    """`chain`, called with what the hook's arguments are; None stands for those nobody names."""
    arguments = HOOKS[hook].arguments
    count = len(arguments)

    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != count:
            wrong = [name for name in kwargs if name not in arguments[len(args) :]]
            missing = [n for n in arguments[len(args) :] if n in used and n not in kwargs]
            if wrong or missing or len(args) > count:
                said = f" without {', '.join(missing)}" if missing else ""
                said += f" with {', '.join(wrong)}" if wrong else ""
                given = said or f" with {len(args)} arguments"
                raise TypeError(f"{hook}({', '.join(arguments)}) was called{given}")
            args = (*args, *(kwargs.get(name) for name in arguments[len(args) :]))
        return chain(*args)

    return call


def _each(calls: list[Call]) -> Call:
    def call(*args: Any) -> list[Any]:
        return [one(*args) for one in calls]

    return call


def _apart(hook: str, each: Call, names: list[str]) -> Call:
    """What several tricks return, none under another's name: one would hide the other."""

    def call(*args: Any) -> list[Any]:
        made: list[Any] = each(*args)
        first: dict[str, str] = {}
        for trick, values in zip(names, made, strict=True):
            for name in values:
                if (other := first.setdefault(name, trick)) != trick:
                    raise TrickError(
                        trick, hook, f"returned '{name}', as trick '{other}' does; rename one"
                    )
        return made

    return call


def _picked(hook: str, impl: Implementation) -> Call:
    """The implementation, called with the arguments that it names."""
    function = impl.function
    wanted = tuple(HOOKS[hook].arguments.index(name) for name in impl.arguments)
    if wanted == tuple(range(len(HOOKS[hook].arguments))):
        return function
    return lambda *args: function(*[args[i] for i in wanted])


def _guarded(hook: str, impl: Implementation, more: Callable[[Trick], str]) -> Call:
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
            raise blamed(name, hook, error, more(impl.trick)) from error
        finally:
            here.leave(before)
        if (wrong := check(value, args)) is not None:
            raise TrickError(name, hook, wrong + _place(impl.trick, hook))
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


def _wrapped(
    hook: str,
    impl: Implementation,
    inner: Call,
    may_idle: bool,
    more: Callable[[Trick], str],
) -> Call:
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
            raise TrickError(name, hook, wrong + _place(impl.trick, hook))
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
            raise TrickError(
                name, hook, f"{_ONCE}; it never did{_place(impl.trick, hook)}"
            ) from None
        except BaseException as error:  # as in _guarded
            if _passes(error):
                raise
            raise blamed(name, hook, error, more(impl.trick)) from error
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
                raise blamed(name, hook, raised, more(impl.trick)) from raised
            raise TrickError(name, hook, f"{_ONCE}; it did twice{standing(generator)}") from error
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
            raise blamed(name, hook, error, more(impl.trick)) from error
        second = standing(generator)
        generator.close()
        raise TrickError(name, hook, f"{_ONCE}; it did twice{second}")

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
        raise blamed(trick, hook, error) from error
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


def _place(trick: Trick, hook: str) -> str:
    return place(getattr(type(trick), hook, None))
