"""Runs whose trials are not trained: what each would measure is said beforehand."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from ablate.core.trial import Trial
from ablate.execution.runner import Outcome
from ablate.session.session import Session, open_session
from ablate.session.stages import Ran, run_stages
from ablate.store.attempt_writer import Attempt
from ablate.study import load_study

# of a trial: its top-1 as a fraction, or how it ended
Measure = Callable[[Trial], float | str]

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 2
stack    = ["cosine", "mixup"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
lr         = 0.1
"""

TUNED = (
    STUDY.replace('stack    = ["cosine", "mixup"]\n', "")
    + """
[tricks]
adam = { set.lr = 0.001 }

[[ablation]]
name  = "main"
kind  = "one_at_a_time"
stack = ["mixup", "adam"]
tune  = { lr.factor = [0.3, 1, 3] }
"""
)
ONCE = TUNED.replace("{ lr.factor", "{ once = true, lr.factor")


def noise(trial: Trial, size: float) -> float:
    """A number of this variant and seed alone, uniform within ± size."""
    names = "+".join(sorted(spec.name for spec in trial.tricks))
    return random.Random(f"{names} {trial.seed}").uniform(-size, size)


def null(trial: Trial) -> float:
    """Nothing is worth anything; re-running is worth eight points."""
    return 0.5 + noise(trial, 0.08)


def session(folder: Path, text: str, *, name: str = "study", **options: object) -> Session:
    """Of a study file with this text, in a folder with a store."""
    file = folder / f"{name}.toml"
    file.write_text(text)
    loading = {n: options.pop(n) for n in ("seeds", "overrides") if n in options}
    return open_session(
        load_study(file, **loading),  # type: ignore[arg-type]
        store=folder / "store",
        device="cpu",
        command=f"ablate run {file}",
        **options,  # type: ignore[arg-type]
    )


class Planted:
    """Trains by writing down what is planted. stages: what was trained in each."""

    def __init__(self, measure: Measure, stop_after: int | None = None) -> None:
        self.measure = measure
        self.stop_after = stop_after
        self.stages: list[tuple[str, tuple[str, ...]]] = []
        self.told: list[tuple[str, bool]] = []

    def run(self, first: Session) -> Ran:
        return run_stages(first, self._train, self._ended)

    @property
    def trained(self) -> list[str]:
        return [key for _, keys in self.stages for key in keys]

    def _train(self, session: Session) -> Outcome:
        resolved, store = session.resolved, session.store
        store.save_study(resolved)
        outcome = Outcome(choosing=frozenset(resolved.tuning))
        done = []
        for key in session.work.to_train:
            if self.stop_after is not None and len(self.trained) + len(done) >= self.stop_after:
                outcome.signal = 2
                break
            store.register(resolved.trials[key], resolved.labels[key])
            found = self.measure(resolved.trials[key])
            attempt = Attempt.begin(store.path, key)
            if isinstance(found, float):
                metrics = {"top1": found, "top5": 1.0, "loss": 1 - found}
                attempt.record("epoch", epoch=1, metrics=metrics, seconds=1.0, images=100, steps=6)
            status = "done" if isinstance(found, float) else found
            attempt.finish(status, "", examples=599)
            done.append(key)
        self.stages.append((session.stage.kind, tuple(done)))
        states = store.states(resolved.order)
        outcome.statuses = {key: state.status for key, state in states.items()}
        outcome.trained = len(done)
        return outcome

    def _ended(self, session: Session, following: Session | None) -> None:
        self.told.append((session.stage.words, following is not None))
