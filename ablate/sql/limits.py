"""What one statement may take: seconds inside DuckDB, and memory of the process."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ablate.errors import AblateError

_ENDING: Final = frozenset(getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
_GRACE: Final = 2.0  # seconds that an interrupt may take
_PATIENCE: Final = 2.0  # seconds until somebody is told what takes so long


class Clock:
    """Counts the time inside DuckDB, and ends what takes longer than `limit` seconds."""

    def __init__(self, limit: float, stuck: Callable[[], None] | None) -> None:
        self.limit = limit
        self.spent = 0.0
        self.over = False
        self.interrupt: Callable[[], None] = lambda: None
        self._stuck = stuck

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What is within counts, and is interrupted when the time is over; `stuck` comes next."""
        left = max(0.0, self.limit - self.spent)
        timers = [threading.Timer(left, self._stop)]
        if self._stuck is not None:
            timers.append(threading.Timer(left + _GRACE, self._stuck))
        for timer in timers:
            timer.daemon = True
            timer.start()
        began = time.monotonic()
        try:
            with self._interruptible():
                yield
        finally:
            for timer in timers:
                timer.cancel()
            self.spent += time.monotonic() - began

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C interrupts DuckDB at once: Python's handler waits for the main thread, which is
        inside DuckDB, and DuckDB does not always look whether a signal came."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reading, writing = socket.socketpair()
        writing.setblocking(False)  # as the signal's handler needs it
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

        def watch() -> None:
            while number := reading.recv(1):
                if number[0] in _ENDING:
                    self.interrupt()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            writing.close()  # which ends the watcher
            watcher.join()
            reading.close()

    def _stop(self) -> None:
        self.over = True
        self.interrupt()


@contextlib.contextmanager
def noticed(behind: Callable[[], None]) -> Iterator[None]:
    """Call `behind`, from a thread, if what is done within takes long."""
    from ablate.index.vetting import if_later

    with if_later(_PATIENCE, behind):
        yield


def timed_out(limit: float) -> AblateError:
    """What is said of a query that took longer than `limit` seconds."""
    return AblateError(
        f"query: stopped after {limit:g} s",
        hint="ask for less (where, limit), or for longer: --timeout SECONDS",
    )


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """Twice what DuckDB may take, on top of what the process has; only Linux holds to it."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    from ablate.index.vetting import MEMORY_GB

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + 2 * MEMORY_GB * 10**9
    soft, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    for other in (soft, hard):
        limit = limit if other == resource.RLIM_INFINITY else min(limit, other)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
