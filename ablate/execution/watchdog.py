"""Trials that hang: found by the lack of any sign of life, and ended.

A sign is a step, a batch read, a hook entered or left (`util.heartbeat`). The time without one
counts only while the coordinator itself runs: a machine that sleeps, or a coordinator that was
stopped, makes no trial hang.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ablate.util.heartbeat import Place

if TYPE_CHECKING:
    from ablate.execution.executor import Executor

_EVERY: Final = 1.0  # seconds between looks
_MOST: Final = 5.0  # seconds that count of those between two looks
_START: Final = 300.0  # seconds more for a worker that has to import torch first
_DUMP: Final = 2.0  # seconds that a process has to write where it is
_KILL: Final = 15.0  # seconds until its worker is killed, too, and again until it is given up


class Silence:
    """How long each of several has given no sign. Pure: it is told the time."""

    def __init__(self) -> None:
        self._looked: float | None = None
        self._signs: dict[int, int] = {}
        self._silent: dict[int, float] = {}

    def pause(self) -> None:
        """The time until the next look counts for nobody."""
        self._looked = None

    def look(self, now: float, signs: Mapping[int, int]) -> dict[int, float]:
        """Seconds of silence of each that there is; signs: how many each has given so far."""
        passed = 0.0 if self._looked is None else min(now - self._looked, _MOST)
        self._looked = now
        self._silent = {
            one: self._silent.get(one, 0.0) + passed if self._signs.get(one) == count else 0.0
            for one, count in signs.items()
        }
        self._signs = dict(signs)
        return self._silent


@dataclass
class _Hung:
    """A trial that is being ended. since: when its last stage began."""

    message: str
    since: float
    stage: int = 0


class Watch:
    """Ends trials that give no sign of life for `minutes`; 0: none ever is.

    First the process is asked to write its stacks into the trial's log, which it does without
    running any Python of its own; then it is killed, with all that it has started. One that cannot
    even be killed (waiting for a disk that is gone) is given up with its worker.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._silence = Silence()
        self._hung: dict[int, _Hung] = {}
        self._next = 0.0

    def why(self, request: int) -> str | None:
        """Why a trial was ended, None if it was not."""
        hung = self._hung.get(request)
        return hung.message if hung else None

    def pause(self) -> None:
        """The processes were stopped on purpose until now."""
        self._silence.pause()

    def look(self, executors: Iterable[Executor]) -> set[Executor]:
        """End what hangs; returns workers to give up because nothing ends them."""
        now = time.monotonic()
        if not self._minutes or now < self._next:
            return set()
        self._next = now + _EVERY
        owner = {request: each for each in executors for request in each.running}
        places = {request: each.place(request) for request, each in owner.items()}
        silent = self._silence.look(now, {r: place.signs for r, place in places.items()})
        lost: set[Executor] = set()
        for request, seconds in silent.items():
            hung = self._hung.get(request)
            if hung is not None:
                if self._next_stage(hung, request, owner[request], now):
                    lost.add(owner[request])
            elif seconds >= 60 * self._minutes + (0 if places[request].pid else _START):
                self._hung[request] = _Hung(in_words(places[request], self._minutes), now)
                owner[request].signal(request, signal.SIGUSR1)
                owner[request].signal(request, signal.SIGCONT)  # a stopped process writes nothing
        return lost

    @staticmethod
    def _next_stage(hung: _Hung, request: int, executor: Executor, now: float) -> bool:
        """Whether nothing helps."""
        if now - hung.since < (_DUMP if hung.stage == 0 else _KILL):
            return False
        hung.since, hung.stage = now, hung.stage + 1
        if hung.stage == 1:
            executor.end(request)
        elif hung.stage == 2:
            executor.kill()
        return hung.stage > 2


def in_words(place: Place, minutes: float) -> str:
    """Why a trial was ended, and what sets the limit."""
    limit = f"{minutes:g} min" if minutes >= 1 else f"{60 * minutes:g} s"
    return (
        f"no sign of life for {limit}{place.after(' ')}: ended; "
        f"[protocol] stall_minutes = {minutes:g} is the limit"
    )


def ended_by(code: int, place: Place) -> str:
    """How a process ended that never said it, and where it was."""
    how = f"code {code}"
    if code < 0:
        how = f"signal {-code}"
        if -code == signal.SIGKILL:
            how += " (killed; out of memory may be why)"
        else:
            with contextlib.suppress(ValueError):
                how += f" ({(signal.strsignal(-code) or '').lower()})"
    return f"its process ended by {how}{place.after(' ')}"
