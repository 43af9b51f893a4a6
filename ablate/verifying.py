"""Retraining one finished trial and comparing: what is kept is what training gives.

The training happens in a store of its own that is thrown away, in a process of its own, with the
trial's own numerics; the kept attempt is only read. Compared are every metric of every epoch and
the scores of every test image, to the bit. Versions, machine and threads are recorded with a trial
and not part of its key: where something differs, they are the first suspects.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ablate import spool
from ablate.errors import AblateError
from ablate.resolved import ResolvedStudy, Row, Table
from ablate.store import Store, TrialResult
from ablate.trial import ENGINE_BEHAVIOUR, Trial

if TYPE_CHECKING:
    from ablate.executor import Device, Workers
    from ablate.runner import Observer, Outcome

# Of `ablate.surroundings.environment`: what could change a result's bits, likeliest first.
RECORDED: Final = ("torch", "torchvision", "cuda", "device_name", "ablate", "python", "platform")
_PLACES: Final = ("host", "cores", "shared_device")
_NO_METRICS: Final = frozenset({"epoch", "seconds", "steps", "images"})


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
    one of them lacks. recorded: (then, now) of what was recorded and differs.
    """

    epochs: int
    metrics: tuple[MetricDifference, ...]
    scores: int | None
    scores_differ: int
    largest_score: float
    images: int
    predictions_differ: int
    missing: tuple[str, ...]
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
        recorded=recorded_differences(stored.environment, fresh.environment),
        **scores,
    )


def _metrics(
    mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> Iterator[MetricDifference]:
    names = {name for epoch in (*mine, *theirs) for name in epoch} - _NO_METRICS
    for name in sorted(names):
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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
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


# --------------------------------------------------------------------------------- retraining


@dataclass(frozen=True)
class Retraining:
    """A finished trial made ready to be trained again. Make one with `prepare`."""

    store: Store
    key: str
    trial: Trial
    label: str
    kept: TrialResult
    device: Device
    data_root: Path | None
    bundled_only: bool

    @property
    def seconds(self) -> float | None:
        """About how long it took; None where that is not known."""
        typical = self.kept.curves.typical
        return None if typical is None else typical * self.kept.curves.epochs

    @property
    def promised(self) -> bool:
        """Whether the numerics promise the same bits on the same machine and versions."""
        return self.trial.numerics.deterministic

    def study(self) -> ResolvedStudy:
        """The trial, and its teacher, as a study of one row."""
        trials, labels = {self.key: self.trial}, {self.key: self.label}
        teacher = self.trial.teacher
        if teacher is not None:
            trials = {teacher: self.store.trial(teacher) or self.trial, **trials}
            labels |= {teacher: self.store.label(teacher)}
        parts = self.label.split(" · ")
        row = Row(
            label=" · ".join(parts[1:-1]) or parts[0],
            tricks=(),
            role="baseline",
            above=None,
            keys=(self.key,),
        )
        table = Table(
            ablation="verify",
            kind="cumulative",
            dataset=self.trial.dataset.name,
            column="",
            reference="above",
            seeds=(self.trial.seed,),
            rows=(row,),
        )
        return ResolvedStudy(
            name="verify",
            file="",
            toml={},
            command="",
            headline=self.label,
            seeds=(self.trial.seed,),
            margin=0.5,
            metric="top1" if "top1" in self.kept.final else next(iter(self.kept.final), "loss"),
            tables=(table,),
            trials=trials,
            labels=labels,
            order=tuple(trials),
        )

    @contextmanager
    def scratch(self) -> Iterator[Store]:
        """A store that has nothing but the teacher, and is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="ablate-verify-") as folder:
            scratch = Store.open(Path(folder) / "store", create=True)
            if self.trial.teacher is not None:
                _lend(self.store, scratch, self.trial.teacher)
            yield scratch

    def workers(self) -> Workers:
        """The process that trains, which begins to import: enter it, `check`, then `train`."""
        from ablate.executor import Workers

        workers = Workers([self.device])
        workers.start(1)
        return workers

    def check(self, progress: Callable[[int, int, float], None] | None = None) -> None:
        """Refuse tricks whose code is another now, and data that is; decode what is not decoded.

        progress: told of images decoded, images in all, images per second. Raises AblateError.
        """
        _check_tricks(self.trial, f"{self.key[:6]} {self.label}", self.bundled_only)
        _check_data(self.trial, self.data_root, progress)

    def train(
        self, scratch: Store, study: ResolvedStudy, observer: Observer, workers: Workers
    ) -> Outcome:
        """Train it in the scratch store."""
        from ablate.runner import Runner

        runner = Runner(
            study,
            scratch,
            [self.device],
            observer,
            data_root=self.data_root,
            bundled_only=self.bundled_only,
            workers=workers,
        )
        return runner.run()


def prepare(
    store: Store,
    key: str,
    *,
    device: str = "auto",
    data_root: Path | None = None,
    bundled_only: bool = False,
) -> Retraining:
    """What retraining needs, as far as the store tells.

    Raises AblateError for whatever keeps the trial from being trained again here.
    """
    trial, kept, label = store.trial(key), store.result(key), store.label(key)
    name = f"{key[:6]} {label}"
    if trial is None or kept is None:
        state = store.state(key)
        raise AblateError(
            f"{name} is {'not finished' if state.status == 'new' else state.status}: "
            f"only a finished trial can be verified"
        )
    if why := _unable(store, trial):
        raise AblateError(f"{name} cannot be trained again here: {why[0]}", hint=why[1])
    found = _device(trial, device, name)
    return Retraining(store, key, trial, label, kept, found, data_root, bundled_only)


def cheapest(store: Store) -> str:
    """The finished trial that took least and can be trained again. Raises AblateError for none."""
    from ablate.devices import sign_of_gpu

    best: tuple[float, str] | None = None
    for key in store.keys():  # noqa: SIM118 - a store is no dict
        result = store.result(key)
        trial = store.trial(key) if result is not None else None
        if result is None or trial is None or _unable(store, trial):
            continue
        if trial.numerics.device_type == "cuda" and not sign_of_gpu():
            continue
        cost = (result.curves.typical or math.inf) * max(result.curves.epochs, 1)
        if best is None or (cost, key) < best:
            best = cost, key
    if best is None:
        raise AblateError(
            f"no finished trial in {store.path} can be trained again here",
            hint="ablate status shows what is there",
        )
    return best[1]


def _unable(store: Store, trial: Trial) -> tuple[str, str | None] | None:
    """(why, hint) a trial cannot be trained again, as far as the store tells."""
    if trial.engine != ENGINE_BEHAVIOUR:
        return f"its engine was {trial.engine}, this one is {ENGINE_BEHAVIOUR}", None
    if trial.teacher is not None and spool.weights(store.path, trial.teacher) is None:
        why = f"the weights of its teacher {trial.teacher[:6]} are not in {store.path}"
        return why, "ablate run STUDY trains the teacher where it is missing"
    return None


def _device(trial: Trial, asked: str, name: str) -> Device:
    from ablate import devices as machine
    from ablate.compiler import compiler_lacks
    from ablate.executor import Device

    kind = trial.numerics.device_type
    chosen = kind if asked == "auto" else asked
    if chosen.partition(":")[0] != kind:
        raise AblateError(
            f"{name} was trained on {kind} and its key says so: --device {asked} is another trial",
            hint=f"--device {kind}, on a machine that has one",
        )
    found = machine.choose_devices(chosen)[0]
    if trial.numerics.compiled and (lacking := compiler_lacks(kind)):
        raise AblateError(
            f"{name} was compiled; here torch's compiler lacks {' and '.join(lacking)}"
        )
    threads = trial.numerics.threads if kind == "cpu" else found.threads
    return Device(found.name, slots=1, threads=threads, forks=found.forks)


def _check_tricks(trial: Trial, name: str, bundled_only: bool) -> None:
    """Refuse tricks that are not installed, or whose code is another now."""
    if not trial.tricks:
        return
    from ablate.training_process import construct

    try:
        construct(trial.tricks, bundled_only=bundled_only)
    except AblateError as error:
        why = error.message.removesuffix("; run it again")
        raise AblateError(f"{name} cannot be trained again here: {why}", hint=error.hint) from error


def _check_data(
    trial: Trial, data_root: Path | None, progress: Callable[[int, int, float], None] | None
) -> None:
    from ablate.data import catalogue
    from ablate.data.cache import ensure_cache, open_cache

    ref = trial.dataset
    if progress is not None and not catalogue.in_memory(ref.name):
        edition = catalogue.dataset_info(ref.name).editions.get(ref.variant)
        ensure_cache(ref.name, data_root, (edition.pixels if edition else None) or 4096, progress)
    open_cache(ref, data_root)


def _lend(store: Store, scratch: Store, teacher: str) -> None:
    """A copy of a teacher: its definition, and the attempt that has its weights."""
    weights = spool.weights(store.path, teacher)
    assert weights is not None  # `prepare` has looked
    target = spool.trial_path(scratch.path, teacher)
    shutil.copytree(weights.parent, target / weights.parent.name)
    shutil.copyfile(spool.trial_path(store.path, teacher) / "trial.json", target / "trial.json")
