"""Made-up studies with known numbers, as plain objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.core.recipe import Recipe
from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.core.trial import DatasetRef, Numerics, Trial
from ablate.store.curves import Curves

GPU = {
    "device_name": "NVIDIA RTX 4090",
    "device": "cuda:0",
    "host": "one",
    "torch": "2.8.0",
    "ablate": "0.1.0",
    "shared_device": False,
}


@dataclass(frozen=True)
class Result:
    final: Mapping[str, float]
    epochs: Sequence[Mapping[str, float]]
    epoch_seconds: Sequence[float]
    environment: Mapping[str, Any] = field(default_factory=lambda: dict(GPU))
    summary: Mapping[str, Any] = field(default_factory=lambda: {"examples": 3925})
    started: str = "2026-01-02T03:04:05.000Z"
    finished: str = "2026-01-02T03:06:05.000Z"
    processor_seconds: Sequence[float] = ()

    @property
    def curves(self) -> Curves:
        return Curves.of(self.epochs, self.epoch_seconds, self.processor_seconds)


@dataclass(frozen=True)
class State:
    status: str
    message: str = ""


def key(row: str, seed: int, dataset: str = "imagenette", column: str = "") -> str:
    return f"{dataset}-{column}-{row}-{seed}".replace(" ", "_")


def table(
    rows: Sequence[tuple[str, str, int | None]],
    seeds: int = 3,
    *,
    dataset: str = "imagenette",
    column: str = "",
    keys: Mapping[str, str] | None = None,
    **more: Any,
) -> Table:
    """rows: (label, role, above). keys: rows whose trials are those of another label."""
    made = []
    for label, role, above in rows:
        owner = (keys or {}).get(label, label)
        trick = label.removeprefix("+ ")
        before = made[above].tricks if above is not None and role != "control" else ()
        made.append(
            Row(
                label=label,
                tricks=() if role == "baseline" else (*before, trick),
                role=role,
                above=above,
                keys=tuple(key(owner, s, dataset, column) for s in range(seeds)),
            )
        )
    settings = {
        "ablation": "main",
        "kind": "cumulative",
        "reference": "above",
        "seeds": tuple(range(seeds)),
    }
    return Table(dataset=dataset, column=column, rows=tuple(made), **(settings | more))


def cumulative(*tricks: str) -> list[tuple[str, str, int | None]]:
    rows = [("baseline", "baseline", None)]
    return rows + [(f"+ {trick}", "step", i) for i, trick in enumerate(tricks)]


GROUP1 = cumulative("warmup", "fp16", "mixup", "zero_gamma")


def study(*tables: Table, name: str = "group1", **more: Any) -> ResolvedStudy:
    trials = {}
    for each in tables:
        for row in each.rows:
            for seed, k in zip(each.seeds, row.keys, strict=True):
                trials[k] = Trial(
                    recipe=Recipe(model="resnet50_v1", image_size=160),
                    dataset=DatasetRef(
                        name=each.dataset, fingerprint="f", decoder="d", num_classes=10
                    ),
                    tricks=(),
                    numerics=Numerics.named("fast", "cuda"),
                    seed=seed,
                )
    settings = {
        "file": f"studies/{name}.toml",
        "command": f"ablate run studies/{name}.toml",
        "headline": "resnet50_v1 · 20 epochs · batch 64 · lr 0.025 · 160 px",
        "margin": 0.5,
        "metric": "top1",
    }
    return ResolvedStudy(
        name=name,
        toml={},
        seeds=tables[0].seeds,
        tables=tables,
        trials=trials,
        labels={},
        order=tuple(trials),
        **(settings | more),
    )


def results(
    values: Mapping[str, Sequence[float]],
    *,
    top5: Mapping[str, float] | None = None,
    seconds: Mapping[str, float | Sequence[float]] | None = None,
    dataset: str = "imagenette",
    column: str = "",
    **more: Any,
) -> dict[str, Result]:
    """By row label: top-1 in percent for each seed; top-5 in percent, seconds an epoch, of all
    seeds or of each."""
    found = {}
    for label, line in values.items():
        given = (seconds or {}).get(label, 8.0)
        times = [given] * len(line) if isinstance(given, int | float) else given
        for seed, (top1, time) in enumerate(zip(line, times, strict=True)):
            final = {"top1": top1 / 100, "loss": 1 - top1 / 100}
            if top5:
                final["top5"] = top5[label] / 100
            epochs = [
                {"epoch": 1, "train_loss": 2.0 - top1 / 1000, "seconds": 20.0, **final},
                {"epoch": 2, "train_loss": 1.0 - top1 / 1000, "seconds": time, **final},
            ]
            found[key(label, seed, dataset, column)] = Result(
                final, epochs, [20.0, time, time], **more
            )
    return found
