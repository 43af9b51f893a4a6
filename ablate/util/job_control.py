"""Ctrl-Z: this process stops as its shell expects, and goes on with `fg`, its terminal in order.

`on_suspend` says what happens at Ctrl-Z: at once `suspend`, from Python's handler, so it may not
wait for anything; `stop_process` is then for a moment at which nothing is half written. `draws`
names what has to leave the terminal in order before, and may come back to it afterwards.

Nothing happens outside the main thread, where Ctrl-Z is ignored, and where somebody else handles
it; a process whose group no shell controls is not stopped, and goes on at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol, TextIO

_ENDING: Final = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_SUSPEND: Final = getattr(signal, "SIGTSTP", None)  # not on every system
_BACKGROUND_WRITE: Final = getattr(signal, "SIGTTOU", None)


class Drawn(Protocol):
    """What is redrawn in place on a terminal."""

    def suspend(self) -> None:
        """Leave the terminal: the shell is about to use it."""

    def go_on(self, seconds: float) -> None:
        """The process runs again, after so many seconds, perhaps in the background."""


_handlers: list[Callable[[], None]] = []
_drawn: list[Drawn] = []


@dataclass
class _Held:
    """depth: of `undisturbed`. waiting: whether Ctrl-Z was pressed within."""

    depth: int = 0
    waiting: bool = False


_held = _Held()


def stop_process() -> None:
    """Stop this process as Ctrl-Z does; returns when it goes on, or at once where nothing stops
    it."""
    if _SUSPEND is None:
        return
    began = time.time()
    for each in reversed(_drawn):
        each.suspend()
    before = signal.signal(_SUSPEND, signal.SIG_DFL)
    try:
        signal.raise_signal(_SUSPEND)  # here it stands until SIGCONT
    finally:
        signal.signal(_SUSPEND, before)
    for each in _drawn:
        each.go_on(max(0.0, time.time() - began))


@contextlib.contextmanager
def on_suspend(suspend: Callable[[], None] = stop_process) -> Iterator[None]:
    """Within, Ctrl-Z calls `suspend`, which stops the process or has it stopped soon."""
    if not _ours():
        yield
        return
    assert _SUSPEND is not None
    if not _handlers:
        signal.signal(_SUSPEND, _caught)
    _handlers.append(suspend)
    try:
        yield
    finally:
        _handlers.remove(suspend)
        if not _handlers and signal.getsignal(_SUSPEND) is _caught:
            signal.signal(_SUSPEND, signal.SIG_DFL)


@contextlib.contextmanager
def draws(what: Drawn) -> Iterator[None]:
    """Within, `what` leaves the terminal before the process stops."""
    with on_suspend():
        _drawn.append(what)
        try:
            yield
        finally:
            _drawn.remove(what)


@contextlib.contextmanager
def writing_in_background() -> Iterator[None]:
    """Within, a line that is written from the background does not stop the process, although
    `stty tostop` says so: it would stand while those that it started train on."""
    if _BACKGROUND_WRITE is None or not _default(_BACKGROUND_WRITE):
        yield
        return
    signal.signal(_BACKGROUND_WRITE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(_BACKGROUND_WRITE, signal.SIG_DFL)


def in_foreground(stream: TextIO) -> bool:
    """Whether a terminal is this process's to draw on; also where no shell controls it."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # not its controlling terminal; no descriptor
        return True


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Within, Ctrl-Z waits: what draws and prints cannot be entered twice."""
    if not _main():
        yield
        return
    _held.depth += 1
    try:
        yield
    finally:
        _held.depth -= 1
        if _held.waiting and not _held.depth:
            _held.waiting = False
            if _handlers:
                _handlers[-1]()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within, Ctrl-Z waits, and so do Ctrl-C and what else asks this process to end: an exception
    in the middle of drawing would leave the terminal without a cursor. For milliseconds."""
    if not _main():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in _ENDING
        if callable(signal.getsignal(number))
    }
    try:
        with undisturbed():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _caught(number: int, frame: FrameType | None) -> None:
    if _held.depth:
        _held.waiting = True
    else:
        _handlers[-1]()


def _ours() -> bool:
    return _SUSPEND is not None and (
        _default(_SUSPEND) or (_main() and signal.getsignal(_SUSPEND) is _caught)
    )


def _default(number: int) -> bool:
    return _main() and signal.getsignal(number) == signal.SIG_DFL


def _main() -> bool:
    return threading.current_thread() is threading.main_thread()
