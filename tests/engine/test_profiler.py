"""`--profile` against clocks outside it, a trick of known cost, and a training without it."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ablate import Trick, hookimpl
from ablate.data.cache import ensure_cache
from ablate.data.loader import open_data
from ablate.engine.loop import train
from ablate.engine.profiler import TRACED, Segment, Watch, uncovered
from ablate.engine.profiler_report import PROFILE, TABLE, TRACE, Profile, Row, cells, read
from ablate.util.files import read_json
from ablate_tricks.ema import Ema
from ablate_tricks.mixup import Mixup
from ablate_tricks.random_erasing import RandomErasing
from ablate_tricks.sam import Sam
from tests.helpers.support import CPU, Memory, run, same, trial, weights


def profiled(
    tricks: Sequence[Trick] = (), memory: Memory | None = None, **settings: Any
) -> tuple[Watch, Any, Memory]:
    """As `support.run`, watched."""
    torch.set_num_threads(1)
    memory = memory or Memory()
    made = trial(**settings)
    cached = ensure_cache("digits", None, 8).limited(made.dataset.limit)
    watch = Watch(CPU)
    result = train(
        made,
        tricks,
        lambda augmentations: watch.data(
            open_data(cached, made.recipe, augmentations, made.seed, CPU)
        ),
        CPU,
        watch.recorder(memory),
        watch=watch,
    )
    return watch, result, memory


def row(profile: Profile, where: str, of: str = "") -> Row:
    """The row of that name."""
    (found,) = [one for one in profile.rows if (one.where, one.of) == (where, of)]
    return found


class Sleeps(Trick):
    """Costs 50 ms a step, before and after what it wraps."""

    @hookimpl(wrapper=True)
    def encode_targets(self, labels: Tensor) -> Generator[None, Tensor, Tensor]:
        time.sleep(0.03)
        targets = yield
        time.sleep(0.02)
        return targets


class Slow(Trick):
    """Costs 40 ms an epoch."""

    @hookimpl
    def on_epoch_end(self) -> None:
        time.sleep(0.04)


def test_the_rows_add_up_to_the_trial() -> None:
    began = time.perf_counter()
    watch, _, _ = profiled([Mixup()], limit=160)
    profile = watch.profile("key", "a processor")
    outside = time.perf_counter() - began
    assert sum(one.seconds for one in profile.parts()) == pytest.approx(profile.seconds)
    assert profile.seconds <= outside
    assert profile.seconds > 0.8 * outside, "what is between the spans counts too"
    for name in ("augmentation", "hooks"):
        inner = sum(one.seconds for one in profile.parts(name))
        assert inner == pytest.approx(row(profile, name).seconds)
    named = {one.where for one in profile.parts()}
    assert named >= {
        "setup", "first step", "data", "augmentation", "forward", "backward", "optimizer",
        "hooks", "other", "evaluation", "checkpoint", "profiler",
    }  # fmt: skip
    assert all(one.seconds > 0 for one in profile.parts())
    assert profile.traced_steps == 2, "a quarter of an epoch"
    assert profile.steps == 2 * (160 // 16) - 2 - 1, "not the first, not the traced"


def test_a_slow_trick_shows_in_its_own_line() -> None:
    quiet, _, _ = profiled([], limit=160)
    watch, _, _ = profiled([Sleeps(), Slow()], limit=160)
    profile, without = watch.profile("key", ""), quiet.profile("key", "")
    mine = row(profile, "sleeps encode_targets", "hooks")
    assert mine.seconds == pytest.approx(0.05 * profile.steps, rel=0.2)
    assert mine.per_step_ms == pytest.approx(50, rel=0.2)
    assert mine.waiting == pytest.approx(1, abs=0.05), "it sleeps"
    assert row(profile, "slow on_epoch_end", "hooks").seconds == pytest.approx(0.08, rel=0.3)
    assert row(profile, "hooks").seconds >= mine.seconds
    for name in ("forward", "data"):  # nobody else is charged
        assert row(profile, name).seconds < row(without, name).seconds + 0.3 * mine.seconds
    assert without.parts("hooks") == []


@pytest.mark.parametrize("tricks", [(), (Mixup, Ema, RandomErasing), (Sam,)])
def test_the_result_is_the_same_to_the_bit(tricks: tuple[Callable[[], Trick], ...]) -> None:
    settings = {"limit": 160, "seed": 3}
    plain, told = run([make() for make in tricks], **settings)
    _, watched, also_told = profiled([make() for make in tricks], **settings)
    assert same(weights(watched), weights(plain))
    metrics = [record["metrics"] for record in told.records]
    assert [record["metrics"] for record in also_told.records] == metrics
    assert told.tested is not None
    assert also_told.tested is not None
    assert (told.tested.scores == also_told.tested.scores).all()


def test_without_a_watch_nothing_of_it_runs() -> None:
    called: set[str] = set()

    def trace(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            called.add(frame.f_code.co_filename)

    sys.setprofile(trace)
    try:
        run([Mixup()], epochs=1)
    finally:
        sys.setprofile(None)
    assert any("engine/loop.py" in name for name in called)
    assert not [name for name in called if "engine/profiler" in name]


def test_a_resumed_trial_is_profiled_from_where_it_goes_on() -> None:
    whole, _ = run([Ema()], limit=160)
    first = Memory()
    profiled([Ema()], memory=first, limit=160)
    watch, result, _ = profiled([Ema()], memory=Memory(first.states[0]), limit=160)
    assert same(weights(result), weights(whole))
    profile = watch.profile("key", "")
    assert profile.steps + profile.traced_steps + 1 == 10


@pytest.mark.parametrize(("limit", "traced"), [(400, TRACED), (30, 1)])
def test_trace_and_tables_are_files(tmp_path: Path, limit: int, traced: int) -> None:
    watch, _, _ = profiled([Mixup()], limit=limit, epochs=1)
    written = watch.write(tmp_path, "key", "a processor")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([PROFILE, TABLE, TRACE])
    with gzip.open(tmp_path / TRACE, "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert names.count("ablate: data") >= traced
    assert names.count("ablate: forward") == 2 * traced, "the model and the loss"
    assert names.count("ablate: hooks mixup batch_mixers") == traced
    assert any(event["name"] == "aten::conv2d" for event in events)
    profile = read(read_json(tmp_path / PROFILE))
    assert profile is not None
    assert profile == written
    assert profile.traced_steps == traced
    lines = (tmp_path / TABLE).read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        "where", *(one.where.split()[0] for one in profile.parts()), "total",
    ]  # fmt: skip
    assert "100.0%" in lines[-1]


def test_what_is_no_profile_is_none() -> None:
    assert read(None) is None
    assert read({"format": 1, "rows": []}) is None


def test_shares_and_totals_by_hand() -> None:
    rows = (
        Row(where="data", seconds=1.0, per_step_ms=10.0, waiting=0.5),
        Row(where="hooks", seconds=2.0, per_step_ms=20.0, waiting=0.0),
        Row(where="a b", of="hooks", seconds=0.5, per_step_ms=5.0),
        Row(where="c d", of="hooks", seconds=1.5, per_step_ms=15.0),
        Row(where="checkpoint", seconds=1.0),
    )
    profile = Profile(
        key="k", device="cpu", device_name="", seconds=4.0, steps=100, traced_steps=0, rows=rows
    )
    assert cells(profile)[1:] == [
        ("data", "1.0", "25.0%", "10.00 ms", "50%"),
        ("hooks", "2.0", "50.0%", "20.00 ms", "0%"),
        ("  c d", "1.5", "37.5%", "15.00 ms", ""),
        ("  a b", "0.500", "12.5%", "5.00 ms", ""),
        ("checkpoint", "1.0", "25.0%", "", ""),
        ("total", "4.0", "100.0%", "30.00 ms", "17%"),  # of the three seconds that are known
    ]


def test_what_kernels_leave_uncovered_by_hand() -> None:
    stretches = [(0.0, 1.0), (1.0, 1.5), (1.5, 4.0), (4.0, 5.0)]
    kernels = [(0.5, 1.25), (0.25, 0.75), (2.0, 2.5), (2.25, 2.5), (3.0, 4.5), (6.0, 7.0)]
    assert uncovered(stretches, kernels) == [0.25, 0.25, 1.0, 0.5]
    assert uncovered(stretches, []) == [1.0, 0.5, 2.5, 1.0]
    assert uncovered([(0.0, 1.0)], [(-1.0, 2.0)]) == [0.0]


def test_a_gpus_waiting_by_hand() -> None:
    def event(name: str, start: float, end: float, on: str, named: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            name=name,
            time_range=SimpleNamespace(start=start * 1e6, end=end * 1e6),  # in microseconds
            device_type=SimpleNamespace(name=on),
            is_user_annotation=named,
        )

    events = [
        event("ablate: traced steps", 10.0, 18.0, "CPU", named=True),
        event("ablate: forward", 11.0, 13.0, "CPU", named=True),
        event("ablate: forward", 11.0, 13.0, "CUDA", named=True),  # a range, no work
        event("aten::conv2d", 11.0, 12.0, "CPU"),
        event("conv_kernel", 11.5, 13.0, "CUDA"),  # 1.5 to 3 s after the mark
        event("gemm_kernel", 15.0, 16.0, "CUDA"),  # 5 to 6 s
    ]
    parts = [("data", 1.0), ("forward", 3.0), ("data", 1.0), ("backward", 1.0)]
    segments, at = [], 0.0
    for name, seconds in parts:
        segments.append(Segment("traced", (name,), (at, 0.0), (at + seconds, 0.0)))
        at += seconds
    watch = Watch(CPU)
    assert watch._waited(segments, events) == pytest.approx(
        {"data": 1.0, "forward": 0.5, "backward": 0.0}
    )
    assert watch._waited(segments, events[:4]) == {}, "no kernel was seen: nothing is known"
