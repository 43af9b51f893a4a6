"""What a trial costs before it trains: a further trial of a run against a fresh process's first.

Both through the executor that the runner uses, with a trial of one step: from the request to its
first step, and until its process has said that it is over. A fresh process imports torch; a further
trial is a child of a server that has (CPU), or the next in a warm worker (GPU).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from measure import Bar, Result, Row, ratios
from place import Place

from ablate.execution.executor import Executor
from ablate.util.devices import Device


def measure(place: Place) -> Result:
    """Fresh and further, in turn."""
    place.cached()  # decoded before: no trial of a study decodes
    fresh: dict[str, list[float]] = {"first step": [], "ended": []}
    further: dict[str, list[float]] = {"first step": [], "ended": []}
    store = Path(tempfile.mkdtemp(dir=place.out))
    seed = 0
    for number in range(1 + (1 if place.tiny else max(place.repeats, 8))):
        events: SimpleQueue[tuple[Executor, dict[str, Any]]] = SimpleQueue()
        executor = Executor(Device(str(place.device), slots=1), events)
        try:
            for where in (fresh, further):
                took = one(place, store, executor, events, seed)
                seed += 1
                if number:
                    for name, value in took.items():
                        where[name].append(value)
        finally:
            executor.close()
    shutil.rmtree(store)
    step = ratios(further["first step"], fresh["first step"])
    return Result(
        [
            Row("request to first step, further trial ÷ fresh process", step, bar=Bar("≤", 0.1)),
            Row("fresh process, request to first step", fresh["first step"], "s"),
            Row("further trial, request to first step", further["first step"], "s"),
            Row(
                "whole trial of one step, further ÷ fresh", ratios(further["ended"], fresh["ended"])
            ),
            Row("further trial of one step, request to its end", further["ended"], "s"),
        ],
        [f"{Device(str(place.device), slots=1).name}: the trial has one step and one evaluation"],
    )


def one(
    place: Place, store: Path, executor: Executor, events: SimpleQueue[Any], seed: int
) -> dict[str, float]:
    """Seconds from the request to the first step, and to the end."""
    size, batch = (16, 8) if place.tiny else (32, 64)
    cached = place.cached().limited(max(batch, 20))
    recipe = place.recipe("resnet8", size, batch)
    trial = place.trial(recipe, cached).model_copy(update={"seed": seed})
    began = time.perf_counter()
    executor.train(
        {
            "id": seed,
            "trial": trial.model_dump(mode="json"),
            "store": str(store),
            "data_root": None,
            "no_plugins": False,
            "keep_weights": False,
            "macs": None,
            "shared_device": False,
        }
    )
    took: dict[str, float] = {}
    while True:
        _, event = events.get(timeout=120)
        now = time.perf_counter() - began
        if event["event"] == "alive":
            took.setdefault("first step", now)
        if event["event"] == "ended" and event["status"] != "done":
            raise RuntimeError(f"the trial ended as {event['status']}: {event['message']}")
        if event["event"] == "exited":
            executor.running.pop(seed, None)
            return took | {"ended": now}
        if event["event"] == "gone":
            raise RuntimeError(f"the worker ended with {event['code']}")
