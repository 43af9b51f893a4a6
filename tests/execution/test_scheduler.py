"""Which worker gets which trial: simulated devices, then two real warm workers on the CPU."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.execution.runner import Runner
from ablate.execution.scheduler import choose
from ablate.store.store import Store
from ablate.util.devices import Device
from tests.helpers.tiny_studies import Silent, equal, outcome, study, trial


def alike(key: str) -> int:
    return 0


def seed_of(key: str) -> int:
    return int(key.split("-")[0])


def simulate(
    graphs: dict[str, int],
    workers: int,
    compiling: float,
    training: float = 10,
    block: Callable[[str], int] = alike,
    started: list[str] | None = None,
) -> tuple[dict[int, list[str]], float, float]:
    """Each worker's trials, when all were over, and for how long a device idled before the queue
    was empty. A trial takes `training`, and `compiling` more where the worker has not its graph.
    started: gets the trials as they are given out."""
    waiting, has = list(graphs), dict.fromkeys(range(workers), frozenset[int]())
    done: dict[int, list[str]] = defaultdict(list)
    busy: list[tuple[float, int]] = []
    now, idle = 0.0, 0.0
    while waiting or busy:
        free = [w for w in has if w not in {worker for _, worker in busy}]
        while waiting and free:
            key, worker = choose(waiting, free, has, graphs.get, block)
            waiting.remove(key)
            if started is not None:
                started.append(key)
            free.remove(worker)
            new = graphs[key] not in has[worker]
            has[worker] |= {graphs[key]}
            done[worker].append(key)
            heapq.heappush(busy, (now + training + compiling * new, worker))
        then, _ = heapq.heappop(busy)
        idle += len(free) * (then - now) if waiting else 0
        now = then
    return done, now, idle


def compiles(done: dict[int, list[str]], graphs: dict[str, int]) -> int:
    return sum(len({graphs[key] for key in keys}) for keys in done.values())


def test_with_one_worker_the_order_of_work_is_kept() -> None:
    graphs = {f"{seed}-{row}": row % 2 for seed in range(3) for row in range(4)}
    done, _, _ = simulate(graphs, 1, compiling=25)
    assert done[0] == [*graphs]


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_as_many_graphs_as_workers_are_compiled_once_each(workers: int) -> None:
    graphs = {f"{seed}-{row}": row for seed in range(6) for row in range(workers)}
    done, end, idle = simulate(graphs, workers, compiling=25)
    assert compiles(done, graphs) == workers
    assert end == 25 + 6 * 10
    assert idle == 0


def test_no_device_idles_while_a_trial_waits_even_if_that_takes_another_compile() -> None:
    same = {str(place): 0 for place in range(8)}
    done, end, idle = simulate(same, 4, compiling=25)
    assert idle == 0
    assert [len(done[w]) for w in range(4)] == [2, 2, 2, 2]
    assert end == 25 + 2 * 10
    # Six trials of one graph, two of another: whoever is through helps with the larger one.
    uneven = {str(place): int(place >= 10) for place in range(12)}
    done, _, idle = simulate(uneven, 2, compiling=5)
    assert idle == 0
    assert compiles(done, uneven) == 3
    assert abs(len(done[0]) - len(done[1])) <= 1


def test_without_graphs_workers_take_what_comes_first() -> None:
    compiled = {"a": frozenset[int](), "b": frozenset({3})}
    assert choose(["x", "y"], ["b"], compiled, lambda key: None, alike) == ("x", "b")


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_a_seed_of_every_row_starts_before_the_next_of_any_on_whichever_worker(
    workers: int,
) -> None:
    """Also where a worker has the graph of a later trial. What that costs is at most one more
    compile of each graph by each worker."""
    rows = [0, 0, 0, 1, 2]
    graphs = {f"{seed}-{row}": graph for seed in range(6) for row, graph in enumerate(rows)}
    started: list[str] = []
    done, _, idle = simulate(graphs, workers, compiling=25, block=seed_of, started=started)
    assert [seed_of(key) for key in started] == [seed for seed in range(6) for _ in rows]
    assert sorted(started) == sorted(graphs)
    assert idle == 0
    assert compiles(done, graphs) <= 3 * workers
    compiled = {0: frozenset({0}), 1: frozenset({1})}
    assert choose(["1-0", "0-4"], [0], compiled, graphs.get, seed_of) == ("0-4", 0)


@pytest.mark.long
def test_two_warm_workers_share_the_work_and_every_trial_is_the_same(tmp_path: Path) -> None:
    trials = [trial(epochs=1, seed=seed, lr=lr) for seed in range(3) for lr in (0.05, 0.1)]
    graphs = {made.key: place % 2 for place, made in enumerate(trials)}
    resolved = study(*trials).model_copy(update={"graphs": graphs})
    both, one = (Store.open(tmp_path / name, create=True) for name in ("both", "one"))
    warm = Device("cpu", 1, forks=False)
    assert Runner(resolved, both, [warm, warm], Silent()).run().exit_code == 0
    assert Runner(resolved, one, [Device("cpu", 2)], Silent()).run().exit_code == 0
    by_process = defaultdict(list)
    for place, made in enumerate(trials):
        assert equal(outcome(both, made.key), outcome(one, made.key))
        (lines,) = (both.path / "trials" / made.key).glob("2*/metrics.jsonl")
        by_process[json.loads(lines.read_text().splitlines()[0])["pid"]].append(place)
    assert len(by_process) == 2, "one worker did it all"
    assert {places[0] for places in by_process.values()} == {0, 1}
