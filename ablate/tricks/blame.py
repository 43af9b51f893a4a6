"""What a trick's error is reported as: which trick and hook, where in its file, what to write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydantic import ValidationError

from ablate.errors import TrickError, brief, text_of
from ablate.tricks.base import Trick
from ablate.util.text import one_line

_OURS: Final = str(Path(__file__).parents[1])


def place(function: Any) -> str:
    """ " (my_trick.py:12)": where a function begins; "" of what has no code of its own."""
    if not hasattr(function, "__code__"):  # a method has its function's, an object its class's
        function = getattr(type(function), "__call__", None)  # noqa: B004 - what is called
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename.startswith(_OURS):
        return ""
    return _shown(code.co_filename, code.co_firstlineno)


def standing(generator: Any) -> str:
    """ " (my_trick.py:14)": where a generator waits."""
    frame = getattr(generator, "gi_frame", None)
    return _shown(frame.f_code.co_filename, frame.f_lineno) if frame is not None else ""


def raised(error: BaseException) -> str:
    """ " (my_trick.py:14)": the last line reached in the first file that is not ablate's."""
    found: tuple[str, int] | None = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if (found is None and not file.startswith(_OURS)) or (found and found[0] == file):
            found = file, trace.tb_lineno
        trace = trace.tb_next
    return _shown(*found) if found is not None else ""


def _shown(file: str, line: int) -> str:
    return f" ({one_line(Path(file).name)}:{line})"


def blamed(name: str, hook: str, error: BaseException, more: str = "") -> TrickError:
    """The error under its trick's name. more: what else is known of it."""
    return TrickError(name, hook, f"{_said(error)}{raised(error)}{more}")


def _said(error: BaseException) -> str:
    """What was raised; of the commonest mistakes, what to write instead."""
    if isinstance(error, ValidationError):
        frozen = [e for e in error.errors(include_url=False) if e["type"].startswith("frozen_")]
        if frozen:
            field = ".".join(map(str, frozen[0]["loc"]))
            if error.title in ("Recipe", "Trial"):
                what = error.title.lower()
                return (
                    f"sets {field} of the {what}, which is frozen; resolve_recipe returns another "
                    f'recipe: recipe.model_copy(update={{"{field}": …}})'
                )
            return f"sets the parameter {field}, which is frozen; {_private(field)}"
    if isinstance(error, dataclasses.FrozenInstanceError):
        return f"{brief(error)}; return a new one, by dataclasses.replace"
    text = text_of(error)
    if type(error) is ValueError and '" object has no field "' in text:  # pydantic's own
        field = text.rpartition('object has no field "')[2].rstrip('"')
        return f"sets self.{one_line(field)}, which is not declared; {_private(one_line(field))}"
    return brief(error)


def _private(name: str) -> str:
    name = name.lstrip("_")
    return f"what changes is kept in a private attribute: `_{name}: Any = PrivateAttr(None)`"


def unsaved(trick: Trick) -> str:
    """What may be wrong with a trick that raises in a resumed trial; "" if it saves its state."""
    cls = type(trick)
    saves: Callable[..., Any] = cls.state_dict
    loads: Callable[..., Any] = cls.load_state_dict
    if not hasattr(getattr(cls, "on_trial_start", None), "ablate_impl") or (
        saves is not Trick.state_dict and loads is not Trick.load_state_dict
    ):
        return ""
    empty = [name for name, value in (trick.__pydantic_private__ or {}).items() if value is None]
    what = ", ".join(empty) or "what it began"
    return (
        f"; a resumed trial does not call on_trial_start: save {what} by state_dict(), and take it "
        "back in load_state_dict(state)"
    )
