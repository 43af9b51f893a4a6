"""Other people's code in the process that plans: contained as far as a process can contain code.

A trick's module is imported, and its hooks that decide a key or a model are called, where a study
is planned. There is no other process there that could be ended. So what would end this one is
refused, what moves it is moved back, and what takes too long is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from ablate.util.heartbeat import here

NOTICE: Final = 60.0  # seconds until it is said what is waited for
LIMIT: Final = 600.0  # seconds until it is interrupted: a model's code may download weights
_KEPT: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP")
    if hasattr(signal, name)
)


class TooLong(BaseException):
    """Somebody else's code did not end. No Exception, so that it does not catch it by accident."""


@contextlib.contextmanager
def contained(what: str) -> Iterator[None]:
    """Run code of "plugin ./x.py" or the like inside.

    `os._exit` raises SystemExit there. Working directory, umask and the handlers of Ctrl-C are put
    back. After `LIMIT` seconds TooLong is raised, if this is the main thread and nobody else has an
    alarm set. What hangs without running Python, or dies by a signal, nothing here holds.
    """
    folder, mask, handlers = _folder(), _umask(), {s: signal.getsignal(s) for s in _KEPT}
    leave, who = os._exit, (os.getpid(), threading.get_ident())

    def refused(status: int = 0) -> NoReturn:
        if who != (os.getpid(), threading.get_ident()):  # a child's or another thread's own end
            leave(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refused
    try:
        with here.doing(f"in {what}"), _limited(what):
            yield
    finally:
        os._exit = leave
        os.umask(mask)
        if folder is not None and folder != _folder():
            os.chdir(folder)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


@contextlib.contextmanager
def _limited(what: str) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        yield
        return
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in what)
    told = False

    def ring(number: int, frame: Any) -> None:
        nonlocal told
        if told:
            raise TooLong(f"no end after {LIMIT:g} s")
        told = True
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"waiting for {shown} (Ctrl-C ends it)\n")
            sys.stderr.flush()
        signal.setitimer(signal.ITIMER_REAL, max(LIMIT - NOTICE, 0.001))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(NOTICE, LIMIT))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None
