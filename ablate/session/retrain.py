"""A finished trial trained again, in a store of its own that is thrown away.

The training happens in a process of its own, with the trial's own numerics; the kept attempt is
only read. `ablate.session.verify` compares the two.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.core.metrics import LOSS, MEASURED
from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.core.trial import Trial, engine_behaviour
from ablate.data import catalogue
from ablate.errors import AblateError
from ablate.execution.executor import Workers
from ablate.planning.others_code import others_code, refuse_code
from ablate.store import attempt_reader
from ablate.store.store import Store, TrialResult
from ablate.util import beneath
from ablate.util import devices as machine
from ablate.util.devices import Device, compiler_lacks, sign_of_gpu
from ablate.util.files import create, open_plain
from ablate.util.own_code import without_plugins

if TYPE_CHECKING:
    from ablate.execution.executor import Workers
    from ablate.execution.runner import Observer, Outcome
    from ablate.util.devices import Device


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

    @property
    def code(self) -> tuple[str, ...]:
        """Whose code runs besides ablate's own, as the store names it: its teacher's too."""
        return others_code(_with_teacher(self.store, self.trial))

    def study(self) -> ResolvedStudy:
        """The trial, and its teacher, as a study of one row."""
        trials, labels = {self.key: self.trial}, {self.key: self.label}
        teacher = self.trial.teacher
        if teacher is not None:
            trials = {teacher: self.store.trial(teacher) or self.trial, **trials}
            labels |= {teacher: self.store.label(teacher)}
        final = self.kept.final
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
            margin=0.0,  # nothing is judged
            metric=next((name for name in (*MEASURED, *final) if name in final), LOSS.name),
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
        from ablate.execution.runner import Runner

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
    _refuse_others_code(store, trial, bundled_only)
    return Retraining(store, key, trial, label, kept, found, data_root, bundled_only)


def cheapest(store: Store) -> str:
    """The finished trial that took least and can be trained again. Raises AblateError for none."""
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
    if trial.engine != (now := engine_behaviour(trial.recipe)):
        return f"its engine was {trial.engine}, this one is {now}", None
    if trial.teacher is not None and attempt_reader.weights(store.path, trial.teacher) is None:
        why = f"the weights of its teacher {trial.teacher[:6]} are not in {store.path}"
        return why, "ablate run STUDY trains the teacher where it is missing"
    return None


def _device(trial: Trial, asked: str, name: str) -> Device:

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


def _refuse_others_code(store: Store, trial: Trial, bundled_only: bool) -> None:
    """Raise AblateError for code that a trial or its teacher names and that must not run."""
    with without_plugins(bundled_only):
        refuse_code(_with_teacher(store, trial))


def _with_teacher(store: Store, trial: Trial) -> list[Trial]:
    teacher = store.trial(trial.teacher) if trial.teacher is not None else None
    return [trial] if teacher is None else [trial, teacher]


def _check_tricks(trial: Trial, name: str, bundled_only: bool) -> None:
    """Refuse tricks that are not installed, or whose code is another now."""
    if not trial.tricks:
        return
    from ablate.tricks.construct import construct

    try:
        construct(trial.tricks, bundled_only=bundled_only)
    except AblateError as error:
        why = error.message.removesuffix("; run it again")
        raise AblateError(f"{name} cannot be trained again here: {why}", hint=error.hint) from error


def _check_data(
    trial: Trial, data_root: Path | None, progress: Callable[[int, int, float], None] | None
) -> None:
    from ablate.data.cache import ensure_cache, open_cache

    ref = trial.dataset
    if progress is not None and not catalogue.in_memory(ref.name):
        edition = catalogue.dataset_info(ref.name).editions.get(ref.variant)
        ensure_cache(ref.name, data_root, (edition.pixels if edition else None) or 4096, progress)
    open_cache(ref, data_root)


def _lend(store: Store, scratch: Store, teacher: str) -> None:
    """A copy of a teacher: its definition, and the attempt that has its weights."""
    weights = attempt_reader.weights(store.path, teacher)
    assert weights is not None  # `prepare` has looked
    target = attempt_reader.trial_path(scratch.path, teacher)
    beneath.make_folder(target)
    beneath.make_folder(target / weights.parent.name)
    for entry in beneath.entries(weights.parent):
        if entry.kind == "file":
            _copy(weights.parent / entry.name, target / weights.parent.name / entry.name)
    definition = attempt_reader.trial_path(store.path, teacher) / "trial.json"
    _copy(definition, target / definition.name)


def _copy(source: Path, target: Path) -> None:
    with open_plain(source) as read, create(target) as written:
        shutil.copyfileobj(read, written)
