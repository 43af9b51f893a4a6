"""`ablate run --profile`: what a trial's time went on, measured around the engine's parts.

`train(..., watch=Watch(...))` hands the hooks and the number format over to be timed; data and
recorder are wrapped before they are given to it. Nothing of this is there without a profile.

Each moment counts once, for the innermost span that it is in, so that rows add up to the whole. On
a CPU a row's time is wall time. A GPU works behind the Python program, so there time is read off
events in its queue: a row has what its kernels took and the gaps between them.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from ablate.core.hook_types import Augmentation, Mixer
from ablate.engine.profiler_report import PROFILE, TABLE, TRACE, Profile, Row, text
from ablate.util.files import write_json, write_text, write_whole

if TYPE_CHECKING:
    from ablate.data.loader import RawBatch, TrialData
    from ablate.engine.precision import NumberFormat
    from ablate.engine.recorder import Recorder
    from ablate.tricks.hooks import Hooks
    from ablate.tricks.ordering import Implementation


# In an epoch of fewer steps than 20, half come before those in the trace, which are a quarter.
WARM_UP = 10
TRACED = 5

_LOOP = ("data", "augmentation", "forward", "backward", "optimizer", "hooks", "other")
_ORDER = ("setup", "first step", *_LOOP, "evaluation", "checkpoint", "profiler")
_MARK = "ablate: traced steps"


class Watch:
    """Times one trial from the moment this is made, and traces a few of its steps."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._spans = Spans(device)
        self._seen = 0  # steps begun
        self._steps = 0  # of them neither first nor traced
        self._traced = 0
        self._window = range(0)
        self._profiler: torch.profiler.profile | None = None
        self._marked: Any = None
        self._idle: dict[str, float] | None = None  # a GPU's, by row; from the traced steps
        self._trace: Path | None = None

    # ------------------------------------------------------------- what the engine hands over

    def around(self, hook: str, impl: Implementation, wrapper: bool) -> Implementation:
        """A trick's implementation of a hook, timed under the trick's name."""
        where: Where = ("hooks", impl.trick.name, hook)
        function, timed = impl.function, self._spans.timed
        if not wrapper:
            return replace(impl, function=timed(where, function))
        return replace(impl, function=lambda *args: _TimedGenerator(function(*args), timed, where))

    def attach(self, hooks: Hooks, number_format: NumberFormat) -> None:
        """Time the parts of a step, and what hooks return to be called later."""
        timed = self._spans.timed
        for owner, name, row in (
            (hooks, "forward", "forward"),
            (hooks, "compute_loss", "forward"),
            (number_format, "backward", "backward"),
            (number_format, "unscale", "backward"),
            (number_format, "step", "optimizer"),
        ):
            setattr(owner, name, timed((row,), getattr(owner, name)))
        _after(hooks, "augmentations", lambda made: [self._augmentations(each) for each in made])
        _after(hooks, "batch_mixers", lambda made: [self._mixer(each) for each in made])
        # The engine evaluates between these two.
        _before(hooks, "eval_model", lambda: self._spans.base(("evaluation",)))
        _before(hooks, "extra_metrics", lambda: self._spans.base(OTHER))

    def _augmentations(self, made: Sequence[Augmentation]) -> list[Augmentation]:
        return [
            replace(one, apply=self._spans.timed(("augmentation", one.name), one.apply))
            for one in made
        ]

    def _mixer(self, mixer: Mixer) -> Mixer:
        where = ("hooks", mixer.name, "batch_mixers")
        return replace(mixer, apply=self._spans.timed(where, mixer.apply))

    # -------------------------------------------------------------- what the engine is given

    def data(self, data: TrialData) -> Any:
        """The same batches, timed."""
        return _Data(data, self)

    def recorder(self, recorder: Recorder) -> Any:
        """The same recorder, timed."""
        return _Watched(recorder, self._spans)

    def batches(self, made: Iterator[RawBatch], count: int) -> Iterator[RawBatch]:
        """An epoch's batches; where a step begins and ends."""
        fetch = self._spans.timed(("data",), lambda: next(made, None))
        if self._seen == 0:
            begin = min(WARM_UP, count // 2)
            self._window = range(begin, begin + min(TRACED, max(1, count // 4)))
        self._spans.base(OTHER)
        while True:
            self._begin_step()
            batch = fetch()
            if batch is None:
                break
            yield batch
            part = self._spans.part
            self._seen += 1
            self._steps += part == "run"
            self._traced += part == "traced"
        self._end_trace()
        self._spans.part = "run"

    def _begin_step(self) -> None:
        if self._seen in self._window:
            self._begin_trace()
        elif self._seen:
            self._end_trace()
        if self._profiler is None:
            self._spans.part = "run" if self._seen else "first"
        self._spans.settle_some()

    # ------------------------------------------------------------------------------ the trace

    def _begin_trace(self) -> None:
        if self._profiler is not None:
            return
        self._spans.part = "profiler"
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self._device.type == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
            torch.cuda.synchronize(self._device)
        self._profiler = torch.profiler.profile(activities=kinds)
        self._profiler.start()
        self._spans.names = True
        self._spans.part = "traced"
        self._marked = torch.profiler.record_function(_MARK)
        self._marked.__enter__()

    def _end_trace(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._marked.__exit__(None, None, None)
        self._spans.part = "profiler"
        self._spans.names = False
        profiler.stop()
        with tempfile.NamedTemporaryFile(suffix=".json", delete=False) as file:
            self._trace = Path(file.name)
        profiler.export_chrome_trace(str(self._trace))
        if self._device.type == "cuda":
            self._idle = self._waited(self._spans.take("traced"), profiler.events() or ())  # type: ignore[no-untyped-call]

    def _waited(self, segments: Sequence[Segment], events: Sequence[Any]) -> dict[str, float]:
        """By row, the share of the traced steps in which no kernel ran; {} where none was seen."""
        on_device = [e for e in events if e.device_type.name != "CPU"]
        mark = [e for e in events if e.name == _MARK and e.device_type.name == "CPU"]
        # Ranges that we or torch named are no work.
        named = {e.name for e in events if e.is_user_annotation}
        kernels = [e for e in on_device if e.name not in named]
        if not (segments and mark and kernels):
            return {}
        begin, clock = mark[0].time_range.start, self._spans.clock
        covers = [
            ((e.time_range.start - begin) / 1e6, (e.time_range.end - begin) / 1e6) for e in kernels
        ]
        stretches, at = [], 0.0  # the queue was empty when both clocks began
        for segment in segments:
            seconds, _ = clock.between(segment.start, segment.end)
            stretches.append((at, at + seconds))
            at += seconds
        lasted: dict[str, float] = {}
        waited: dict[str, float] = {}
        free = uncovered(stretches, covers)
        for segment, (start, end), idle in zip(segments, stretches, free, strict=True):
            row = segment.where[0]
            lasted[row] = lasted.get(row, 0.0) + end - start
            waited[row] = waited.get(row, 0.0) + idle
        return {row: waited[row] / seconds for row, seconds in lasted.items() if seconds}

    # ------------------------------------------------------------------------------ the table

    def profile(self, key: str, device_name: str) -> Profile:
        """Where the time went until now."""
        self._end_trace()
        sums: dict[Where, Spent] = {}
        for (part, where), spent in self._spans.spent().items():
            row: Where = {
                "first": ("first step",), "traced": ("profiler",), "profiler": ("profiler",),
            }.get(part, where)  # fmt: skip
            for one in {row[:1], row}:
                _add(sums, (one[0], " ".join(one[1:])) if one[1:] else one, spent)
        rows = [
            self._row(name, where, spent)
            for name in _ORDER
            for where, spent in sums.items()
            if where[0] == name
        ]
        whole = sum(row.seconds for row in rows if not row.of)
        return Profile(
            key=key,
            device=str(self._device),
            device_name=device_name,
            seconds=whole,
            steps=self._steps,
            traced_steps=self._traced,
            rows=tuple(sorted(rows, key=lambda r: (_ORDER.index(r.of or r.where), r.of != ""))),
        )

    def _row(self, name: str, where: Where, spent: Spent) -> Row:
        in_loop = name in _LOOP and self._steps > 0
        waiting = None
        if self._idle is not None and name in _LOOP:
            waiting = self._idle.get(name) if len(where) == 1 else None
        elif spent.waiting is not None and spent.seconds:
            waiting = spent.waiting / spent.seconds
        return Row(
            where=where[-1],
            of=name if len(where) > 1 else "",
            seconds=spent.seconds,
            per_step_ms=1e3 * spent.seconds / self._steps if in_loop else None,
            waiting=waiting,
        )

    def write(self, folder: Path, key: str, device_name: str) -> Profile:
        """profile.json, profile.txt and, if a step was traced, trace.json.gz."""
        profile = self.profile(key, device_name)
        write_json(folder / PROFILE, profile.model_dump(mode="json"))
        write_whole(folder / TABLE, lambda file: write_text(file, text(profile)))
        if self._trace is not None:
            with self._trace.open("rb") as trace:
                write_whole(folder / TRACE, lambda file: _compress(trace, file))
            self._trace.unlink()
            self._trace = None
        return profile


class _TimedGenerator:
    """A wrapper's generator, each stretch of it timed, and not what happens while it waits."""

    def __init__(
        self, generator: Any, timed: Callable[[Where, Callable[..., Any]], Any], where: Where
    ) -> None:
        self._next = timed(where, generator.__next__)
        self.send = timed(where, generator.send)
        self.throw = timed(where, generator.throw)
        self.close = generator.close

    def __next__(self) -> Any:
        return self._next()


class _Data:
    """A trial's data whose training batches are timed."""

    def __init__(self, data: TrialData, watch: Watch) -> None:
        self._data = data
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        made = self._data.train_batches(epoch, size)
        return self._watch.batches(made, self._data.steps_per_epoch)


class _Watched:
    """A recorder whose writing is timed."""

    def __init__(self, recorder: Recorder, spans: Spans) -> None:
        self._recorder = recorder
        for name in ("resume", "epoch"):
            setattr(self, name, spans.timed(("checkpoint",), getattr(recorder, name)))
        finished = spans.timed(("checkpoint",), recorder.finished)

        def last(*args: Any) -> None:
            finished(*args)
            spans.base(("checkpoint",))  # all that is left is to wait for what is being written

        self.finished = last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)


def _after(hooks: Hooks, name: str, change: Callable[[Any], Any]) -> None:
    """Change what a hook returns."""
    call = getattr(hooks, name)
    setattr(hooks, name, lambda *args: change(call(*args)))


def _before(hooks: Hooks, name: str, do: Callable[[], None]) -> None:
    """Do something before a hook is called."""
    call = getattr(hooks, name)

    def first(*args: Any) -> Any:
        do()
        return call(*args)

    setattr(hooks, name, first)


def _add(sums: dict[Where, Spent], where: Where, spent: Spent) -> None:
    total = sums.setdefault(where, Spent())
    total.seconds += spent.seconds
    known = total.waiting is not None and spent.waiting is not None
    total.waiting = total.waiting + spent.waiting if known else None  # type: ignore[operator]


def _compress(plain: BinaryIO, file: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        shutil.copyfileobj(plain, packed)


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
