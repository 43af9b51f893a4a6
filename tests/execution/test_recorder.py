"""Checkpoints that are written while the training goes on: kept whole, in order, and never late."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ablate.engine.checkpoint import Snapshot
from ablate.errors import AblateError
from ablate.execution.recorder import Writer
from ablate.store.attempt_reader import checkpoints
from ablate.store.attempt_writer import Attempt
from ablate.store.journal import read_lines
from ablate.store.store import Store
from tests.helpers.environment import ROOT
from tests.helpers.tiny_studies import spec, trial
from tests.helpers.worker_process import Worker

SABOTEURS = ROOT / "tests" / "helpers" / "saboteurs.py"


def _saved(state: Any) -> Any:
    """As it comes back from a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return (
            type(a) is type(b) and a.dtype == b.dtype and a.stride() == b.stride()
            and a.requires_grad == b.requires_grad and torch.equal(a, b)
        )  # fmt: skip
    if isinstance(a, dict):
        return type(a) is type(b) and [*a] == [*b] and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and all(map(_alike, a, b)) and len(a) == len(b)
    return type(a) is type(b) and a == b


def test_a_snapshot_is_what_saving_at_that_moment_gives() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(
        memory_format=torch.channels_last
    )
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        model(torch.rand(2, 3, 5, 5)).sum().backward()
        optimizer.step()

    step()
    whole = torch.arange(12.0)
    history = [{"loss": 1.0}]
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "trick": {"whole": whole, "view": whole[2:8:2], "own": nn.Parameter(whole[:3].clone())},
        "odd": (torch.tensor(3), torch.empty(0, 4), {"a", "b"}, None, torch.float16),
        "history": history,
    }
    expected = _saved(state)
    taken = Snapshot(state)
    step()
    whole.add_(1)
    history.append({"loss": 2.0})
    got = _saved(taken.wait())
    assert not _alike(_saved(state), expected), "nothing changed: the test cannot fail"
    assert _alike(got, expected)
    assert got["model"]._metadata == expected["model"]._metadata
    got["trick"]["whole"][2] = 99
    assert got["trick"]["view"][0] == 99, "they shared memory"


class _Held(Snapshot):
    """A state that is not written before the gate is open."""

    gate = threading.Event()

    def wait(self) -> dict[str, Any]:
        assert self.gate.wait(20), "training waited for a write"
        return super().wait()


def test_training_does_not_wait_and_every_epoch_is_there_in_order(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    attempt, told = Attempt.begin(store.path, "key"), []
    with Writer(attempt, lambda record: told.append(record["epoch"])) as writer:
        for epoch in range(1, 9):
            state = {"epoch": epoch, "weights": torch.full((4,), epoch)}
            writer.put({"epoch": epoch, "metrics": {}}, _Held(state))
        assert told == []
        _Held.gate.set()
    assert told == [*range(1, 9)]
    lines = read_lines(attempt.path / "metrics.jsonl").records
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == told
    _, epoch, path = next(checkpoints(store.path, "key"))
    assert epoch == 8
    assert torch.load(path, weights_only=True)["weights"].tolist() == [8] * 4


def test_what_goes_wrong_in_the_thread_is_raised_whatever_else_is(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    attempt = Attempt.begin(store.path, "key")
    attempt.close()  # recording a line raises ValueError from here on

    def trained() -> None:
        with Writer(attempt, print) as writer:
            writer.put({"epoch": 1, "metrics": {}}, None)
            raise AblateError("later")

    with pytest.raises(ValueError, match="is closed"):
        trained()


def test_a_full_disk_ends_the_trial_as_failed_and_keeps_what_was_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    limited = ("bash", "-c", 'ulimit -f 16384; exec "$0" "$@"')  # files of at most 16 MiB
    worker = Worker("--fork", before=limited)
    made = trial([spec("heavy", SABOTEURS)], epochs=3)
    worker.train(made, store.path)
    worker.close()
    state = store.state(made.key)
    assert state.status == "failed"
    assert "no space left" in state.message
    attempt = next((store.path / "trials" / made.key).glob("2*"))
    assert not list(attempt.glob(".checkpoint*")), "half a checkpoint was left"
