"""A trial's two trainings compared: what is kept is what training gives.

Compared are every metric of every epoch and the scores of every test image, to the bit. Versions,
machine and threads are recorded with a trial and not part of its key: where something differs, they
are the first suspects. `ablate.session.retrain` makes the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ablate.store.journal import NO_METRICS
from ablate.store.predictions import stored_arrays
from ablate.store.store import TrialResult

if TYPE_CHECKING:
    pass

# Of `ablate.execution.environment.environment`: what could change a result's bits, likeliest first.
RECORDED: Final = ("torch", "torchvision", "cuda", "device_name", "ablate", "python", "platform")
_PLACES: Final = ("host", "cores", "shared_device")


@dataclass(frozen=True)
class MetricDifference:
    """A metric whose curve is another one. epoch: the first that differs, 1-based; stored, now: its
    values there, None where one has none; largest: absolute difference over all epochs."""

    metric: str
    epoch: int
    stored: float | None
    now: float | None
    largest: float


@dataclass(frozen=True)
class Comparison:
    """A kept attempt beside a fresh one.

    epochs: of the kept one; scores: numbers compared, None where none were kept. metrics: those
    that differ, the earliest first. scores_differ: how many; largest_score: by how much at most;
    images, predictions_differ: test images, and those whose best class is another. missing: what
    one of them lacks. unkept: metrics that training gives now and did not then: nothing to
    compare. recorded: (then, now) of what was recorded and differs.
    """

    epochs: int
    metrics: tuple[MetricDifference, ...]
    scores: int | None
    scores_differ: int
    largest_score: float
    images: int
    predictions_differ: int
    missing: tuple[str, ...]
    unkept: tuple[str, ...]
    recorded: dict[str, tuple[Any, Any]]

    @property
    def identical(self) -> bool:
        """Whether nothing differs, to the bit."""
        return not (self.metrics or self.scores_differ or self.missing)

    @property
    def first_epoch(self) -> int | None:
        """The first epoch that differs; None where only scores do, or nothing."""
        return min((each.epoch for each in self.metrics), default=None)


# ---------------------------------------------------------------------------------- comparing


def compare(stored: TrialResult, fresh: TrialResult) -> Comparison:
    """Every number of two finished attempts at one trial."""
    mine, theirs = stored.epochs, fresh.epochs
    missing = []
    if len(mine) != len(theirs):
        missing.append(f"{len(mine)} epochs are kept, training gives {len(theirs)}")
    # What a report prints is the ending's: it must be the last epoch's.
    if mine and _differs(stored.final, {k: mine[-1].get(k) for k in stored.final}):
        missing.append("the kept ending and the kept last epoch say different numbers")
    scores = _scores(stored, fresh)
    return Comparison(
        epochs=len(mine),
        metrics=tuple(sorted(_metrics(mine, theirs), key=lambda m: (m.epoch, m.metric))),
        missing=(*missing, *scores.pop("missing")),
        unkept=tuple(sorted(_names(theirs) - _names(mine))) if mine else (),
        recorded=recorded_differences(stored.environment, fresh.environment),
        **scores,
    )


def _metrics(
    mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> Iterator[MetricDifference]:
    for name in sorted(_names(mine)):
        first: tuple[int, Any, Any] | None = None
        largest = 0.0
        for number, (a, b) in enumerate(zip(mine, theirs, strict=False), 1):
            one: Any = a.get(name)
            other: Any = b.get(name)
            if _same(one, other):
                continue
            first = first or (number, one, other)
            numbers = isinstance(one, int | float) and isinstance(other, int | float)
            apart = abs(one - other) if numbers else math.inf
            largest = max(largest, math.inf if math.isnan(apart) else apart)
        if first is not None:
            yield MetricDifference(name, *first, largest)


def _names(epochs: Sequence[Mapping[str, Any]]) -> set[str]:
    return {name for epoch in epochs for name in epoch} - set(NO_METRICS)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b or (a != a and b != b))


def _differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return any(not _same(a.get(name), b.get(name)) for name in {*a, *b})


def _scores(stored: TrialResult, fresh: TrialResult) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {
        "scores": None,
        "scores_differ": 0,
        "largest_score": 0.0,
        "images": 0,
        "predictions_differ": 0,
        "missing": (),
    }
    try:
        a, b = (_arrays(result.lines.with_name("predictions.npz")) for result in (stored, fresh))
    except FileNotFoundError:
        return found  # of a store without predictions; nothing to hold against it
    except (OSError, ValueError, EOFError) as error:
        return found | {"missing": (f"the kept predictions cannot be read: {error}",)}
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        return found | {"missing": ("the kept predictions are of other images or classes",)}
    if any(not np.array_equal(a[k], b[k]) for k in ("ids", "labels")):
        found["missing"] = ("the kept predictions are of other images or labels",)
    apart = np.abs(a["scores"].astype(np.float64) - b["scores"].astype(np.float64))
    unequal = a["scores"].view(np.uint32) != b["scores"].view(np.uint32)
    best = [x["indices"][:, 0] if "indices" in x else x["scores"].argmax(axis=1) for x in (a, b)]
    return found | {
        "scores": int(a["scores"].size),
        "scores_differ": int(unequal.sum()),
        "largest_score": float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)),
        "images": len(a["ids"]),
        "predictions_differ": int((best[0] != best[1]).sum()),
    }


def _arrays(path: Path) -> dict[str, Any]:
    import zipfile

    import numpy as np

    try:
        found = stored_arrays(path)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    if lacking := {"ids", "labels", "scores"} - set(found):
        raise ValueError(f"no {', '.join(sorted(lacking))}")
    if found["scores"].dtype != np.float32:
        raise ValueError("scores are no float32")
    return found


def recorded_differences(
    stored: Mapping[str, Any], fresh: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """(then, now) of the versions, the machine and the tricks' sources that differ."""
    found = {
        name: (stored.get(name), fresh.get(name))
        for name in (*RECORDED, *_PLACES)
        if stored.get(name) != fresh.get(name)
    }
    for what, label in (("numerics", ""), ("tricks", "trick ")):
        a, b = (_part(recorded, what) for recorded in (stored, fresh))
        found |= {
            f"{label}{name}": (a.get(name), b.get(name))
            for name in sorted({*a, *b})
            if a.get(name) != b.get(name)
        }
    return found


def _part(recorded: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = recorded.get(name)
    return part if isinstance(part, dict) else {}
