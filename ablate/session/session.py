"""A study made ready to run on this machine: for the command line and for Python alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ablate.core.resolved_study import ResolvedStudy, Until
from ablate.data import catalogue
from ablate.design import resolve
from ablate.design.tuning_grid import Choose, nothing_chosen
from ablate.errors import AblateError, StudyError
from ablate.execution.executor import Workers
from ablate.planning.looks import refuse_peeked, until_resolved, with_seeds
from ablate.planning.preflight import slow_formats
from ablate.planning.teachers import teacher_notes
from ablate.planning.timing import Timings
from ablate.planning.tuning import chooser
from ablate.planning.work import FINAL, Work, survey, trained_with
from ablate.store.store import Store
from ablate.study import find_study
from ablate.study.model import Study
from ablate.util import devices as machine
from ablate.util.devices import Device
from ablate.util.paths import compiled_root
from ablate.util.shared import check_code
from ablate.util.text import duration

if TYPE_CHECKING:
    from ablate.execution.runner import Observer, Outcome
    from ablate.stats import Look

# (data set, images decoded, images in all, images per second)
CacheProgress = Callable[[str, int, int, float], None]


Kind = Literal["tune", "look", "train"]


@dataclass(frozen=True)
class Stage:
    """kind: choosing settings, one look of `--until`, or all there is to train. words: what a
    person is told of it, "" of a run with no other stage."""

    kind: Kind = "train"
    words: str = ""


@dataclass(frozen=True)
class Asked:
    """What a run was asked for: its stages differ in what the store has, and in nothing else."""

    study: Study
    devices: tuple[Device, ...]
    data_root: Path | None
    command: str
    bundled_only: bool
    retrain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """A resolved study, its store, the devices, and what is to do in this stage of the run.

    Make one with `open_session`; then `prepare`, `train`; `session.stages` has what follows. tried:
    what earlier stages of this run trained, or failed at, which it does not try again.
    """

    study: Study
    resolved: ResolvedStudy
    store: Store
    devices: tuple[Device, ...]
    work: Work
    timings: Timings
    data_root: Path | None
    bundled_only: bool
    stage: Stage
    asked: Asked
    tried: frozenset[str] = frozenset()

    def seconds(self) -> float | None:
        """How long the work takes, from trials stored on this machine; None if unknown."""
        work, resolved = self.work, self.resolved
        begun = dict(work.continuing)
        return self.timings.total(
            (
                (resolved.trials[k], resolved.trials[k].recipe.epochs - (begun.get(k, 1) - 1))
                for k in work.to_train
            ),
            machine.slots(self.devices),
        )

    def headline(self) -> str:
        """ "group1: 30 trials, 6 shared, 24 to train · about 41 min on 1 × NVIDIA RTX 4090"."""
        seconds = self.seconds()
        where = machine.describe(self.devices)
        time = f"about {duration(seconds)} on {where}" if seconds is not None else f"on {where}"
        stage = f"{self.stage.words}: " if self.stage.words else ""
        return f"{self.resolved.name}: {stage}{self.work.counts()} · {time}"

    def caches(self) -> Iterator[tuple[str, str, int]]:
        """(data set, edition, image size to ask for) of what the work needs decoded."""
        seen = set()
        for key in self.work.to_train:
            ref = self.resolved.trials[key].dataset
            if (ref.name, ref.variant) in seen or catalogue.in_memory(ref.name):
                continue
            seen.add((ref.name, ref.variant))
            edition = catalogue.dataset_info(ref.name).editions.get(ref.variant)
            yield ref.name, ref.variant, (edition.pixels if edition else None) or 4096

    def prepare(self, progress: CacheProgress | None = None) -> list[tuple[str, int]]:
        """Decode what is not decoded yet; returns (data set, images) of each."""
        from ablate.data.cache import ensure_cache

        found = []
        for name, _, size in self.caches():

            def told(done: int, total: int, speed: float, name: str = name) -> None:
                if progress is not None:
                    progress(name, done, total, speed)

            cached = ensure_cache(name, self.data_root, size, told)
            found.append((name, sum(cached.identity.counts)))
        self._check_recipes()
        return found

    def _check_recipes(self) -> None:
        """What cannot be trained on these images, or here, is refused before anything is."""
        from ablate.data.cache import open_cache
        from ablate.data.dataset import check_recipe

        if any(self.resolved.trials[key].numerics.compiled for key in self.work.to_train):
            check_code(compiled_root())
        seen = set()
        for key in self.work.to_train:
            trial = self.resolved.trials[key]
            asked = (trial.dataset.model_dump_json(), trial.recipe.model_dump_json())
            if asked not in seen:
                seen.add(asked)
                check_recipe(open_cache(trial.dataset, self.data_root), trial.recipe)

    def check_effects(self) -> list[str]:
        """Refuse tricks that do nothing; returns what is worth knowing. Imports torch."""
        from ablate.planning.preflight import check_effects

        return check_effects(self.resolved, bundled_only=self.bundled_only)

    def warnings(self) -> list[str]:
        """What a person should know before training."""
        found = list(self.resolved.warnings)
        if machine.device_type(self.devices) == "cpu":
            found += slow_formats(self.resolved, self.study.catalogue)
        found += teacher_notes(self.resolved, self.store, only_wrong=True)
        return found

    def workers(self) -> Workers:
        """The processes that train, which begin to import: enter them, check, then `train`."""
        workers = Workers(self.devices)
        workers.start(len(self.work.to_train))
        return workers

    def to_profile(self) -> frozenset[str]:
        """Of what is to be trained, the first seed of every distinct row: other seeds take the
        same time."""
        first: dict[str, str] = {}
        for key in self.work.to_train:
            trial = self.resolved.trials[key]
            dataset = trial.dataset.model_copy(update={"fold": 0})
            row = trial.model_copy(update={"seed": 0, "dataset": dataset}).key
            seed = trial.seed
            if row not in first or seed < self.resolved.trials[first[row]].seed:
                first[row] = key
        return frozenset(first.values())

    def train(
        self,
        observer: Observer,
        workers: Workers | None = None,
        profile: frozenset[str] = frozenset(),
    ) -> Outcome:
        """Save what was asked for, then train what is missing; `profile` these of it."""
        from ablate.execution.runner import Runner
        from ablate.planning.model_cost import Costs

        self.store.save_study(self.resolved)
        runner = Runner(
            self.resolved,
            self.store,
            self.devices,
            observer,
            data_root=self.data_root,
            bundled_only=self.bundled_only,
            again=self.work.again,
            tried=self.tried,
            profile=profile,
            workers=workers,
            stall=self.study.stall_minutes,
            macs=Costs(bundled_only=self.bundled_only).macs,
        )
        return runner.run()


def open_session(
    study: Study,
    *,
    store: Path,
    device: str = "auto",
    data_root: Path | None = None,
    command: str,
    bundled_only: bool = False,
    retrain: Sequence[str] = (),
    looks: Sequence[Look] = (),
) -> Session:
    """Resolve a study for this machine and see what its store has of it.

    looks: of `--until resolved`, instead of the study's seeds. Raises AblateError for whatever
    keeps it from being trained.
    """
    devices = tuple(machine.choose_devices(device))
    asked = Asked(study, devices, data_root, command, bundled_only, tuple(retrain))
    until = until_resolved(tuple(looks)) if looks else None
    plain = resolve_here(asked, until, nothing_chosen)  # says what is wrong before a store is made
    return open_stage(asked, Store.open(store, create=True), until, plain=plain)


def open_stage(
    asked: Asked,
    store: Store,
    until: Until | None,
    tried: AbstractSet[str] = frozenset(),
    plain: ResolvedStudy | None = None,
) -> Session:
    """The stage that is next, at this look: settings are chosen before anything else is trained.

    plain: the study without any choice, where it is known.
    """
    resolved = plain or resolve_here(asked, until, nothing_chosen)
    if not tried:
        _check_owner(store, resolved)
    again = _again(asked, resolved) - tried
    choose = chooser(store, asked.study.metric, without=again)
    if resolved.tuning:
        resolved = resolve_here(asked, until, choose)
        again = _again(asked, resolved) - tried
    missing = [
        key
        for key in resolved.tuning
        if key not in tried and (key in again or store.state(key).status not in FINAL)
    ]
    if until is not None and until.number == 1:
        most = resolve_here(asked, until, choose, until.most)
        refuse_peeked(most, store, until)
    if missing:
        resolved = tuning_only(resolved)
    work = survey(resolved, store, again, tried)
    devices = asked.devices
    return Session(
        study=asked.study,
        resolved=resolved,
        store=store,
        devices=devices,
        work=work,
        timings=Timings(store, machine.device_names(devices) if work.to_train else ()),
        data_root=asked.data_root,
        bundled_only=asked.bundled_only,
        stage=stage_of(resolved, len(missing)),
        asked=asked,
        tried=frozenset(tried),
    )


def stage_of(resolved: ResolvedStudy, to_tune: int) -> Stage:
    """What the study is to train next; `to_tune`: trials missing that settings are chosen by."""
    if to_tune:
        tunings = [table.tuning for table in resolved.tables if table.tuning]
        names = dict.fromkeys(name for tuning in tunings for name in tuning.settings)
        words = f"choosing {' and '.join(names)} on a held-out tenth of train"
        once = all(tuning.once for tuning in tunings)
        return Stage("tune", f"{words}, seed 0" if once else f"{words}, another for each seed")
    if resolved.until is not None:
        return Stage("look", str(resolved.until))
    return Stage("train", "training with what was chosen" if resolved.tuning else "")


def tuning_only(resolved: ResolvedStudy) -> ResolvedStudy:
    """With the trials alone that settings are chosen by, and those that they learn from."""
    wanted = set(resolved.tuning)
    wanted |= {resolved.trials[key].teacher or "" for key in wanted}
    return resolved.model_copy(
        update={"order": tuple(key for key in resolved.order if key in wanted)}
    )


def resolve_here(
    asked: Asked, until: Until | None, choose: Choose, seeds: int | None = None
) -> ResolvedStudy:
    """The study as this machine trains it, with the seeds of a look, or so many."""
    study = asked.study
    if until is not None:
        study = with_seeds(study, seeds or until.seeds)
    resolved = resolve(
        study,
        data_root=asked.data_root,
        device_type=machine.device_type(asked.devices),
        command=asked.command,
        choose=choose,
    )
    return resolved.model_copy(update={"until": until})


def _again(asked: Asked, resolved: ResolvedStudy) -> frozenset[str]:
    """What `--retrain` asks for."""
    found: frozenset[str] = frozenset()
    for trick in asked.retrain:
        if not trick.strip():
            raise AblateError("--retrain names no trick", hint="--retrain TRICK")
        found |= trained_with(resolved, trick)
    return found


def _check_owner(store: Store, resolved: ResolvedStudy) -> None:
    """A study's name belongs to the file it was first stored from."""
    owner = store.study_name_owner(resolved.name)
    if owner is None or owner == resolved.file:
        return
    here, there = _path(resolved.file), _path(owner)
    if there is None or here == there:  # moved away, or the same file by another name
        return
    earlier = store.latest_study(resolved.name)
    if earlier is not None and set(earlier.toml.values()) == set(resolved.toml.values()):
        return
    raise AblateError(
        f"the name {resolved.name} is taken: {store.path} has a study of that name from {owner}",
        where=resolved.file,
        hint='[study] name = "another"      or another store: --store DIR',
    )


def _path(name: str) -> Path | None:
    with contextlib.suppress(StudyError, OSError):
        return find_study(name).resolve()
    return None
