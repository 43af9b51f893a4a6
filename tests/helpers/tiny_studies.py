"""Resolved studies of tiny digits trials, for the runner; and saboteurs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial, TrickSpec
from ablate.execution.runner import Outcome, Runner
from ablate.store.store import Store
from ablate.tricks.discovery import load_catalogue
from ablate.util.devices import Device
from tests.helpers import support
from tests.helpers.support import recipe


def spec(name: str, file: Path | None = None, **params: Any) -> TrickSpec:
    """A configured trick, bundled or of a loose file."""
    loaded = load_catalogue([str(file)] if file else []).load(name)
    return TrickSpec(
        name=name,
        label=name,
        source=loaded.source,
        params=loaded.cls(**params).model_dump(mode="json"),
        behaviour=loaded.behaviour,
    )


def trial(tricks: Sequence[TrickSpec] = (), **settings: Any) -> Trial:
    """A tiny trial with these tricks in its key."""
    return support.trial(**settings).model_copy(update={"tricks": tuple(tricks)})


def study(*trials: Trial, name: str = "tiny") -> ResolvedStudy:
    """A study of these trials, in this order."""
    keys = tuple(trial.key for trial in trials)
    return ResolvedStudy(
        name=name,
        file=f"{name}.toml",
        toml={},
        command="ablate run",
        headline="tiny",
        seeds=(0,),
        margin=0.5,
        metric="top1",
        tables=(),
        trials=dict(zip(keys, trials, strict=True)),
        labels={key: f"digits · row {place}" for place, key in enumerate(keys)},
        order=keys,
    )


class Silent:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> None:
            self.calls.append((name, args))

        return call

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args in self.calls if called == name]


def outcome(store: Store, key: str) -> tuple[list[dict[str, float]], np.ndarray]:
    """(epochs without times, test scores) of a finished trial."""
    result = store.result(key)
    assert result is not None
    epochs = [{k: v for k, v in e.items() if "seconds" not in k} for e in result.epochs]
    file = store.path / "trials" / key / result.attempt / "predictions.npz"
    with np.load(file) as predictions:
        return epochs, predictions["scores"]


def equal(a: tuple[Any, np.ndarray], b: tuple[Any, np.ndarray]) -> bool:
    """Bit for bit."""
    return bool(a[0] == b[0]) and np.array_equal(a[1], b[1])


def run(
    store: Path,
    resolved: ResolvedStudy,
    slots: int = 1,
    forks: bool = True,
    bundled_only: bool = False,
) -> tuple[Outcome, Silent]:
    observer = Silent()
    opened = Store.open(store, create=True)
    device = Device("cpu", slots, forks=forks)
    runner = Runner(resolved, opened, [device], observer, bundled_only=bundled_only)
    return runner.run(), observer


__all__ = ["Silent", "equal", "outcome", "recipe", "spec", "study", "trial"]
