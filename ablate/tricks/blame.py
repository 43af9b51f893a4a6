"""What a trick's error is reported as: which trick and hook, which line, what to write instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from ablate.errors import TrickError, brief
from ablate.tricks.base import Trick
from ablate.tricks.places import raised


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
            return (
                f"sets self.{field}, and a trick's parameters are frozen; what changes is kept in "
                f"a private attribute: `_{field}: Any = PrivateAttr(None)`"
            )
    if isinstance(error, dataclasses.FrozenInstanceError):
        return f"{brief(error)}; return a new one, by dataclasses.replace"
    return brief(error)


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
