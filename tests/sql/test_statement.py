"""What may be asked, what never happens, and that the views say what the spool says."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest

import ablate
from ablate.errors import AblateError
from ablate.index.database import connect, ingest
from ablate.sql.statement import VIEWS, ask
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.small_stores import make_trial

Train = Callable[..., str]


def rows(store: Store, sql: str, timeout: float = 30.0) -> list[tuple[Any, ...]]:
    with ask(store, sql, timeout=timeout, warn=lambda _: None) as answer:
        return [row for piece in answer.pieces() for row in piece]


# ----------------------------------------------------------------------------------- the views


def test_epochs_are_as_written_last_whenever_they_were_taken_in(store: Store) -> None:
    """Against `Store.epochs`, which reads the lines themselves, for random histories."""
    chance = random.Random(0)
    for seed in range(3):
        key = make_trial(seed).key
        store.register(make_trial(seed), "x")
        with Attempt.begin(store.path, key) as attempt:
            for _ in range(25):
                epoch = chance.randint(1, 6)
                metrics = {name: chance.random() for name in chance.sample("abcd", 2)}
                attempt.record("epoch", epoch=epoch, metrics=metrics, seconds=chance.random())
                if chance.random() < 0.2:
                    ingest(store.path)
        found = rows(store, f"SELECT epoch, metric, value FROM epochs WHERE key = '{key}'")
        expected = [
            (epoch["epoch"], name, value)
            for epoch in store.epochs(key)
            for name, value in epoch.items()
            if name != "epoch"
        ]
        assert sorted(found) == sorted(expected)


def test_trials_have_their_times_costs_machine_and_settings(store: Store) -> None:
    trial = make_trial(0, "mixup")
    store.register(trial, "digits · + mixup · seed 0")
    seconds = [9.0, 2.0, 1.0, 4.0, 3.0]
    with Attempt.begin(store.path, trial.key) as attempt:
        for epoch, each in enumerate(seconds, 1):
            attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, seconds=each, images=640)
        environment = {"device": "cuda:1", "torch": "2.9.0", "shared_device": True, "ablate": 7}
        attempt.save_environment(environment)
        attempt.finish("done", parameters=25_557_032, macs=4_089_000_000, precision="float16")
    columns = (
        "epochs, epoch_seconds, images_per_second, seconds, parameters, macs, number_format, "
        "device, torch, shared_device, ablate, lr, batch_size, planned_epochs, numerics, tricks"
    )
    middle = median(seconds[1:])  # as the report: the first epoch warms up
    assert rows(store, f"SELECT {columns} FROM trials") == [
        (5, middle, 640 / middle, sum(seconds), 25_557_032, 4_089_000_000, "float16", "cuda:1",
         "2.9.0", True, None, 0.025, 64, 3, "exact", ["mixup"])
    ]  # fmt: skip
    result = store.result(trial.key)
    assert result is not None
    assert result.curves.seconds == middle
    defined = "SELECT definition->>'$.recipe.momentum' FROM trials"
    assert rows(store, defined) == [("0.9",)]


def test_predictions_say_what_was_predicted(store: Store) -> None:
    scores = np.random.default_rng(0).normal(size=(30, 10)).astype(np.float32)
    wide = np.random.default_rng(1).normal(size=(30, 200)).astype(np.float32)
    labels = np.arange(30) % 10
    for seed, values in enumerate((scores, wide)):
        store.register(make_trial(seed), "x")
        with Attempt.begin(store.path, make_trial(seed).key) as attempt:
            attempt.save_predictions(np.arange(30), labels, values)
            attempt.finish("done")
        asked = f"SELECT predicted, correct FROM predictions WHERE seed = {seed} ORDER BY id"
        best = values.argmax(axis=1)
        expected = [(int(b), bool(b == label)) for b, label in zip(best, labels, strict=True)]
        assert rows(store, asked) == expected


def test_python_gets_a_copy(store: Store, trained: Train) -> None:
    trained(0, "mixup")
    found = ablate.query("select seed, seed as seed, tricks, top1 from trials", store=store.path)
    assert found == [{"seed": 0, "seed_1": 0, "tricks": ["mixup"], "top1": 0.9}]
    trained(1)
    assert ingest(store.path) == 4  # nothing was left open
    assert len(ablate.query("from trials", store=store.path)) == 2
    with pytest.raises(AblateError, match="did you mean 'trials'"):
        ablate.query("from trial", store=store.path)


# ---------------------------------------------------------------------------------------- time


def test_time_that_the_reader_takes_is_not_counted(store: Store, trained: Train) -> None:
    trained()
    with ask(store, "from range(50)", timeout=1.0, warn=lambda _: None) as answer:
        total = 0
        for piece in answer.pieces(10):
            total += len(piece)
            time.sleep(0.3)
    assert total == 50
    assert answer.seconds < 1.0


# ------------------------------------------------------------------------------- with others


HELD = """
    import sys, time
    from pathlib import Path
    from ablate.store.store import Store
    from ablate.sql.statement import ask
    with ask(Store(Path(sys.argv[1])), "from trials", warn=print) as answer:
        print("ready", flush=True)
        time.sleep(600)
"""


def test_two_may_ask_at_once(store: Store, trained: Train) -> None:
    trained(0)
    ingest(store.path)
    command = [sys.executable, "-c", textwrap.dedent(HELD), str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        began = time.monotonic()
        assert rows(store, "select count(*) from trials") == [(1,)]
        assert time.monotonic() - began < 4  # no waiting for what only reads
        trained(1)  # which cannot be taken in now, and is seen all the same
        assert rows(store, "select count(*) from trials") == [(2,)]
        other.kill()


def test_a_damaged_database_and_none_at_all_can_be_asked(store: Store, trained: Train) -> None:
    trained(0)
    for damage in (b"garbage", b""):
        (store.path / "results.duckdb").write_bytes(damage)
        assert rows(store, "select count(*) from trials") == [(1,)]
    (store.path / "results.duckdb").unlink()
    assert rows(store, "select count(*) from epochs where metric = 'top1'") == [(3,)]


def test_the_views_are_those_that_are_listed(store: Store) -> None:
    assert {name for (name,) in rows(store, "show tables")} == set(VIEWS)
    with connect(store.path) as connection:  # the effects are a table of the connection alone
        listed = connection.execute("show tables").fetchall()
    assert {name for (name,) in listed} == set(VIEWS) - {"effects"}
