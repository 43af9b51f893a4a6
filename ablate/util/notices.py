"""Warnings from deep inside, of what is no fault of the study's: a command prints each once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

_listeners: list[Callable[[str], None]] = []  # one, or none


def listen(tell: Callable[[str], None] | None) -> None:
    """Have `tell` called with each text, once; None: they are Python's warnings again."""
    told: set[str] = set()

    def once(text: str) -> None:
        if tell is not None and text not in told:
            told.add(text)
            tell(text)

    _listeners[:] = [once] if tell is not None else []


def notice(text: str) -> None:
    """Tell it to whoever listens."""
    for tell in _listeners or (partial(warnings.warn, stacklevel=3),):
        tell(text)
