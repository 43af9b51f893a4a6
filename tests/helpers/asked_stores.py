"""A store of made-up trials with predictions: known scores, written as the engine writes them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy import special

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.report.model import ReportTable
from ablate.report.options import Asked
from ablate.session.judged_tables import tables_of
from ablate.store.attempt_reader import trial_path
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers import report_studies as made

CLASSES, IMAGES = 4, 120
LABELS = np.arange(IMAGES) % CLASSES


def scores_of(row: int, seed: int, *, helps: float = 0.25, classes: int = CLASSES) -> np.ndarray:
    """Logits [N, K]: images differ in how hard they are, later rows are a little better."""
    images = np.random.default_rng(99)
    ease = images.normal(0.8 + row * helps, 1, IMAGES)
    rng = np.random.default_rng((row, seed))
    scores = rng.normal(0, 1, (IMAGES, classes)).astype(np.float32)
    scores[np.arange(IMAGES), LABELS] += ease.astype(np.float32)
    return scores


def finals(scores: np.ndarray, labels: np.ndarray = LABELS) -> dict[str, float]:
    """What the engine would have measured, by SciPy."""
    logs = special.log_softmax(scores.astype(float), axis=1)
    return {
        "top1": float(np.mean(scores.argmax(1) == labels)),
        "loss": float(-np.mean(logs[np.arange(len(labels)), labels])),
        "train_loss": 1.0,
        "lr": 0.1,
    }


def write(
    store: Path,
    key: str,
    scores: np.ndarray,
    *,
    more: Mapping[str, float] | None = None,
    predictions: bool = True,
) -> None:
    """A finished attempt at a trial."""
    with Attempt.begin(store, key) as attempt:
        for epoch in (1, 2):
            metrics = finals(scores) | dict(more or {})
            attempt.record("epoch", epoch=epoch, metrics=metrics, seconds=2.0, images=96, steps=6)
        attempt.save_environment(made.GPU)
        if predictions:
            attempt.save_predictions(np.arange(IMAGES), LABELS, scores)
        attempt.finish("done", examples=IMAGES)


def study_of(*tricks: str, seeds: int = 3, **more: object) -> ResolvedStudy:
    """A cumulative study on a data set of unknown classes."""
    return of_tables(made.table(made.cumulative(*tricks), seeds, dataset="own:data"), **more)


def of_tables(*tables: Table, **more: object) -> ResolvedStudy:
    """A study of tables whose keys are such as a store takes."""
    keyed = []
    for table in tables:
        rows = (
            row.model_copy(update={"keys": tuple(sha256(k.encode()).hexdigest() for k in row.keys)})
            for row in table.rows
        )
        keyed.append(table.model_copy(update={"rows": tuple(rows)}))
    return made.study(*keyed, **more)


def stored(path: Path, resolved: ResolvedStudy, **more: object) -> Store:
    """A store in which every trial of the study is done."""
    store = Store.open(path, create=True)
    for table in resolved.tables:
        for i, row in enumerate(table.rows):
            for seed, key in zip(table.seeds, row.keys, strict=True):
                write(store.path, key, scores_of(i, seed), **more)
    store.save_study(resolved)
    return store


def ask(resolved: ResolvedStudy, store: Store, **asked: object) -> ReportTable:
    """The one table of a study, as asked for."""
    (table,) = tables_of(resolved, store, Asked(**asked))
    return table


def predictions_file(store: Store, key: str) -> Path:
    """Where a trial's predictions are."""
    (found,) = trial_path(store.path, key).glob("*/predictions.npz")
    return found
