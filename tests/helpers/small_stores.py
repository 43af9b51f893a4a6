"""Small stores with known numbers, written as trials write them; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate.core.recipe import Recipe
from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.core.trial import DatasetRef, Numerics, Trial, TrickSpec
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store

IMAGES = 20
MACHINE = {
    "ablate": "0.1.0",
    "torch": "2.8.0",
    "host": "lab-7",
    "device": "cpu",
    "device_name": "AMD EPYC",
    "shared_device": False,
}
PARAMS: dict[str, dict[str, Any]] = {"mixup": {"alpha": 0.2}, "warmup": {"epochs": 2.0}}


def make_trial(
    seed: int = 0, *tricks: str, dataset: str = "digits", teacher: str | None = None, **recipe: Any
) -> Trial:
    specs = (
        TrickSpec(
            name=name,
            label=name,
            source="ablate-study 0.1.0",
            params=PARAMS.get(name, {}),
            behaviour="v1",
        )
        for name in tricks
    )
    settings = {"model": "resnet8", "epochs": 3, "image_size": 8} | recipe
    ref = DatasetRef(name=dataset, fingerprint=dataset * 4, decoder="d1", num_classes=10)
    numerics = Numerics()
    return Trial(
        recipe=Recipe(**settings),
        dataset=ref,
        tricks=tuple(specs),
        numerics=numerics,
        seed=seed,
        teacher=teacher,
    )


def train(
    store: Store,
    trial: Trial,
    top1: float,
    *,
    label: str = "",
    status: str = "done",
    seconds: float = 2.0,
    machine: Mapping[str, Any] = MACHINE,
    share: float | None = None,
) -> str:
    """A finished attempt whose last epoch has this top-1; its key. share: of a processor, that of
    its training; None: not recorded, as older releases."""
    key = trial.key
    store.register(trial, label or f"{trial.dataset.name} · seed {trial.seed}")
    with Attempt.begin(store.path, key) as attempt:
        for epoch in range(1, trial.recipe.epochs + 1):
            value = top1 - (trial.recipe.epochs - epoch) / 10
            metrics = {"train_loss": 1.5 / epoch, "top1": value, "loss": 2 - value}
            times = {"seconds": seconds}
            if share is not None:
                times["processor_seconds"] = share * seconds
            attempt.record("epoch", epoch=epoch, metrics=metrics, images=40, **times)
        attempt.save_environment(machine)
        scores = np.random.default_rng(trial.seed).random((IMAGES, 10))
        attempt.save_predictions(range(IMAGES), [i % 10 for i in range(IMAGES)], scores)
        attempt.finish(status, examples=IMAGES, precision="float32")
    return key


def make_study(
    store: Store,
    values: Mapping[str, Sequence[float | None]],
    *,
    name: str = "group",
    datasets: Sequence[str] = ("digits",),
    seconds: float = 2.0,
    margin: float = 0.5,
    file: str = "studies/group.toml",
    machine: Mapping[str, Any] = MACHINE,
    shares: Mapping[str, Sequence[float]] | None = None,
    **recipe: Any,
) -> ResolvedStudy:
    """A cumulative table over tricks, "baseline" first; top-1 by row and seed, None: not trained.

    On the second data set every value is one point less. shares: of a processor, by row and seed.
    """
    seeds = tuple(range(len(next(iter(values.values())))))
    trials: dict[str, Trial] = {}
    labels: dict[str, str] = {}
    tables = []
    for place, dataset in enumerate(datasets):
        rows: list[Row] = []
        for number, (trick, line) in enumerate(values.items()):
            tricks = tuple(list(values)[1 : number + 1])
            label = trick if not number else f"+ {trick}"
            keys = []
            for seed, value in zip(seeds, line, strict=True):
                trial = make_trial(seed, *tricks, dataset=dataset, **recipe)
                keys.append(trial.key)
                trials[trial.key] = trial
                labels[trial.key] = f"{dataset} · {label} · seed {seed}"
                if value is not None and store.state(trial.key).status == "new":
                    train(
                        store,
                        trial,
                        value - place / 100,
                        label=labels[trial.key],
                        seconds=seconds + number,
                        machine=machine,
                        share=shares[trick][seed] if shares else None,
                    )
            rows.append(
                Row(
                    label=label,
                    tricks=tricks,
                    role="step" if number else "baseline",
                    above=number - 1 if number else None,
                    keys=tuple(keys),
                )
            )
        tables.append(
            Table(
                ablation="main",
                kind="cumulative",
                dataset=dataset,
                column="",
                reference="above",
                seeds=seeds,
                rows=tuple(rows),
            )
        )
    resolved = ResolvedStudy(
        name=name,
        file=file,
        toml={file: "[study]\n"},
        command=f"ablate run {file}",
        headline="resnet8 · 3 epochs",
        seeds=seeds,
        margin=margin,
        metric="top1",
        tables=tuple(tables),
        trials=trials,
        labels=labels,
        order=tuple(trials),
    )
    store.save_study(resolved)
    return resolved


def new_store(path: Path) -> Store:
    return Store.open(path, create=True)
