"""A store to fill, trials that were trained in it, and a run: fixtures of three folders of tests.

Real directories, written as the engine writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.core.resolved_study import ResolvedStudy
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.small_stores import make_trial


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "ablate-results", create=True)


@pytest.fixture
def trained(store: Store) -> Callable[..., str]:
    """Writes a finished attempt, as the engine does, and returns the trial's key."""

    def train(seed: int = 0, *tricks: str, top1: float = 0.9, status: str = "done") -> str:
        trial = make_trial(seed, *tricks)
        store.register(trial, f"digits · seed {seed}")
        with Attempt.begin(store.path, trial.key) as attempt:
            for epoch in (1, 2, 3):
                metrics = {"top1": top1 - (3 - epoch) / 10, "loss": 1 / epoch}
                attempt.record("epoch", epoch=epoch, metrics=metrics, seconds=1.5, steps=10)
            attempt.save_environment({"torch": "2.8.0", "host": "here"})
            attempt.finish(status)
        return trial.key

    return train


def resolved(name: str, file: str = "studies/group1.toml", margin: float = 0.5) -> ResolvedStudy:
    trial = make_trial()
    return ResolvedStudy(
        name=name,
        file=file,
        toml={file: "[study]"},
        command="ablate run",
        headline="resnet18_small",
        seeds=(0,),
        margin=margin,
        metric="top1",
        tables=(),
        trials={trial.key: trial},
        labels={trial.key: "baseline"},
        order=(trial.key,),
    )
