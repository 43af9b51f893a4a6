"""Functions of one's own that a study names: "package.module:function", a data set or a model.

Such a name is code. It is imported here and nowhere else, and who must not run any says so with
`without_plugins` or `uncalled`, whoever asks for it further down. What can be said of a function
without running it is said by `util.unimported`. This is no wall: what is called can do whatever
Python can.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module

from ablate.errors import AblateError, brief

_ADDRESS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_NO_PLUGINS, _UNCALLED = "is refused by --no-plugins", "is a function, which is not called here"
_refused: ContextVar[str] = ContextVar("refused", default="")  # why nothing may run; "" if it may
ON_PATH = "put its folder on PYTHONPATH: PYTHONPATH=. ablate ..."


@contextmanager
def without_plugins(wanted: bool = True) -> Iterator[None]:
    """Inside, nothing runs but ablate's own code: no function, no trick of anyone else's."""
    with _refusing(_NO_PLUGINS if wanted else _refused.get()):
        yield


@contextmanager
def uncalled() -> Iterator[None]:
    """Inside, no function of a data set or a model is imported or called."""
    with _refusing(_refused.get() or _UNCALLED):
        yield


@contextmanager
def _refusing(why: str) -> Iterator[None]:
    before = _refused.set(why)
    try:
        yield
    finally:
        _refused.reset(before)


def plugins_refused() -> bool:
    """Whether this is `without_plugins`."""
    return _refused.get() == _NO_PLUGINS


def is_function(name: str) -> bool:
    """Whether a data set or model is spelled like a function of one's own."""
    return _ADDRESS.fullmatch(name) is not None and not name.startswith("imagefolder:")


def refusal(name: str, *, bundled_only: bool = False) -> tuple[str, str] | None:
    """(why, what to type) a function is refused whatever it does; None for one that may be called.

    bundled_only: as `--no-plugins`.
    """
    if bundled_only or plugins_refused():
        return _NO_PLUGINS, "leave --no-plugins away if you trust who wrote it"
    top = name.partition(":")[0].partition(".")[0]
    if top in sys.stdlib_module_names or top in ("ablate", "__main__"):
        whose = {"ablate": "of ablate itself", "__main__": "no file's"}
        why = f"is in the module {top}, which is {whose.get(top, 'of Python itself')}"
        return why, "if it is yours, give its module another name"
    return None


def check_may_run(what: str, name: str) -> None:
    """Raise AblateError for a function that must not be called; what: "data set" or "model"."""
    if refused := refusal(name):
        raise AblateError(f"{what} '{name}' {refused[0]}", hint=refused[1])
    if why := _refused.get():
        raise AblateError(f"{what} '{name}' {why}")


def function(what: str, name: str) -> Callable[..., object]:
    """The function, imported. Raises AblateError for one that there is not, or must not run."""
    check_may_run(what, name)
    module_name, _, function_name = name.partition(":")
    try:
        module = import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # someone else's module may raise anything
        reason = error if isinstance(error, ImportError) else brief(error)
        absent = isinstance(error, ModuleNotFoundError) and error.name == module_name.split(".")[0]
        raise AblateError(
            f"{what} '{name}': {module_name} does not import: {reason}",
            hint=ON_PATH if absent else None,
        ) from error
    found: Callable[..., object] | None = getattr(module, function_name, None)
    if not callable(found):
        raise AblateError(f"{what} '{name}': {module_name} has no function '{function_name}'")
    return found
