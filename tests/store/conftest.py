"""Real trials, real directories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import make_trial

from ablate.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "ablate-results", create=True)


@pytest.fixture
def trained(store: Store) -> Callable[..., str]:
    """Writes a finished attempt, as the engine does, and returns the trial's key."""
    from ablate.store.attempt_writer import Attempt

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
