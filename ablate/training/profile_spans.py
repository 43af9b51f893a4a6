"""Time by what it was spent on: one row at a time, the innermost, so that rows add up to the whole.

On a CPU a row's time is wall time. A GPU works behind the Python program, so there time is read off
events in its queue: a row has what its kernels took and the gaps between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# What the time went on: ("forward",), ("hooks", "mixup", "batch_mixers").
Where = tuple[str, ...]
# A moment, as a clock has it: (event or wall seconds, CPU seconds of this thread).
Moment = tuple[Any, float]

SETUP: Where = ("setup",)
OTHER: Where = ("other",)
_KEPT_BACK = 2_000  # of a GPU's latest segments, which it may not have reached yet


class CpuClock:
    """Wall time, and what of it this thread did not compute."""

    def now(self) -> Moment:
        """This moment."""
        return time.perf_counter(), time.thread_time()

    def between(self, start: Moment, end: Moment) -> tuple[float, float | None]:
        """(seconds, of them waiting)."""
        seconds: float = end[0] - start[0]
        # The two clocks tick apart; a span cannot wait longer than it lasts.
        return seconds, min(max(0.0, seconds - (end[1] - start[1])), seconds)


class CudaClock:
    """The device's own time, from events in its queue; whether it waits they do not tell."""

    def now(self) -> Moment:
        """This place in the queue."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event, 0.0

    def between(self, start: Moment, end: Moment) -> tuple[float, float | None]:
        """(seconds, None); waits until the device is past `end`."""
        end[0].synchronize()
        return start[0].elapsed_time(end[0]) / 1e3, None


@dataclass(frozen=True)
class Segment:
    """A stretch of one row. part: "run", "first" (step) or "traced"."""

    part: str
    where: Where
    start: Moment
    end: Moment


@dataclass
class Spent:
    """Seconds of a row, and how many of them it waited; None where the clock cannot tell."""

    seconds: float = 0.0
    waiting: float | None = 0.0


class Spans:
    """Where the time goes, from the moment this is made.

    part: what the time from now on counts as. names: whether spans are ranges of torch's profiler.
    """

    def __init__(self, device: torch.device) -> None:
        self.clock: CpuClock | CudaClock = CudaClock() if device.type == "cuda" else CpuClock()
        self.names = False
        self._part = "run"
        self._thread = threading.get_ident()
        self._stack: list[Where] = [SETUP]
        self._segments: list[Segment] = []
        self._settled: dict[tuple[str, Where], Spent] = {}
        self._last = self.clock.now()

    @property
    def part(self) -> str:
        """What the time counts as now."""
        return self._part

    @part.setter
    def part(self, part: str) -> None:
        if part != self._part:
            self._cut()
            self._part = part

    def base(self, where: Where) -> None:
        """What the time outside every span counts as from now on."""
        if where != self._stack[0]:
            self._cut()
            self._stack[0] = where

    def timed(self, where: Where, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its time counted as `where`. Other threads call it as it is."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            self._cut()
            self._stack.append(where)
            try:
                if not self.names:
                    return function(*args, **kwargs)
                with torch.profiler.record_function(name_of(where)):
                    return function(*args, **kwargs)
            finally:
                self._cut()
                self._stack.pop()

        return call

    def take(self, part: str) -> list[Segment]:
        """The segments of `part` that `settle` has not counted yet."""
        self._cut()
        return [segment for segment in self._segments if segment.part == part]

    def settle(self, everything: bool = True) -> None:
        """Add up the segments; without `everything` those that a GPU has certainly passed."""
        self._cut()
        keep = 0 if everything else _KEPT_BACK
        counted = self._segments[: len(self._segments) - keep]
        del self._segments[: len(counted)]
        for one in counted:
            seconds, waiting = self.clock.between(one.start, one.end)
            spent = self._settled.setdefault((one.part, one.where), Spent())
            spent.seconds += seconds
            known = waiting is not None and spent.waiting is not None
            spent.waiting = spent.waiting + waiting if known else None  # type: ignore[operator]

    def settle_some(self) -> None:
        """In a long epoch: as much as costs no waiting for the device."""
        if len(self._segments) > 4 * _KEPT_BACK:
            self.settle(everything=False)

    def spent(self) -> Mapping[tuple[str, Where], Spent]:
        """(part, row) → time, all of it."""
        self.settle()
        return self._settled

    def _cut(self) -> None:
        now = self.clock.now()
        # Before the first batch all is setup, whoever does it.
        where = SETUP if self._stack[0] is SETUP else self._stack[-1]
        self._segments.append(Segment(self._part, where, self._last, now))
        self._last = now


def name_of(where: Where) -> str:
    """The row's name in the trace."""
    return "ablate: " + " ".join(where)


def uncovered(
    stretches: Sequence[tuple[float, float]], covers: Sequence[tuple[float, float]]
) -> list[float]:
    """How much of each stretch (start, end) no cover lies on; covers may overlap."""
    merged: list[list[float]] = []
    for start, end in sorted(covers):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    free = []
    first = 0  # stretches come in order: covers that end before one do so before all later ones
    for start, end in stretches:
        while first < len(merged) and merged[first][1] <= start:
            first += 1
        covered, at = 0.0, first
        while at < len(merged) and merged[at][0] < end:
            covered += min(end, merged[at][1]) - max(start, merged[at][0])
            at += 1
        free.append(max(0.0, end - start - covered))
    return free
