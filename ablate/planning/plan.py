"""`Plan`: everything that is known of a study before it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.core.trial import Trial
from ablate.design import resolve, row_changes
from ablate.errors import AblateError, did_you_mean
from ablate.planning.looks import (
    open_trials,
    refuse_peeked,
    until_resolved,
    with_seeds,
)
from ablate.planning.near_misses import NearMiss, near_misses
from ablate.planning.others_code import in_words, study_functions, tricks_in_words
from ablate.planning.plan_text import plan_lines
from ablate.planning.power import Resolution, resolutions
from ablate.planning.teachers import teacher_notes
from ablate.planning.timing import Timings
from ablate.planning.tuning import chooser
from ablate.planning.work import Work, survey
from ablate.store.store import Store
from ablate.study.model import Study
from ablate.util import devices as machine
from ablate.util.devices import Device

if TYPE_CHECKING:
    from ablate.stats import Look
    from ablate.tricks.base import Trick


@dataclass(frozen=True)
class Plan:
    """What `ablate plan` prints.

    seconds: of what is to be trained, None if unknown, from `timed_from` stored trials. untold:
    there are such trials, but they do not tell it.
    seed_seconds: of one more seed of every row, with what it chooses its settings by. changes:
    (table, row) → what the row changes, with counts. coming: keys that stand for trials of seeds
    whose settings are not chosen. notes: idle
    members of bundles and the like. code: whose code beside ablate's own runs.
    """

    study: Study
    resolved: ResolvedStudy
    store: Path
    devices: tuple[Device, ...]
    work: Work
    seconds: float | None
    seed_seconds: float | None
    timed_from: int
    resolutions: tuple[Resolution, ...]
    near: tuple[NearMiss, ...]
    changes: Mapping[tuple[int, int], str]
    coming: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    untold: bool = False

    def __str__(self) -> str:
        return "\n".join(plan_lines(self))


def make_plan(
    study: Study,
    *,
    store: Path,
    device: str = "auto",
    data_root: Path | None = None,
    command: str,
    bundled_only: bool = False,
    looks: Sequence[Look] = (),
) -> Plan:
    """Plan a study; trains nothing, writes nothing. Data that is missing is a warning.

    looks: of `--until resolved`; the first one is planned, and what each can resolve.

    Imports torch, to see on the meta device what each trick changes. Raises AblateError for a trick
    that changes nothing.
    """
    from ablate.planning.preflight import check_effects, slow_formats

    devices = machine.choose_devices(device)
    opened = Store.open(store, create=False) if store.exists() else None

    def planned(study: Study) -> ResolvedStudy:
        return resolve(
            study,
            data_root=data_root,
            device_type=machine.device_type(devices),
            command=command,
            allow_missing_data=True,
            choose=chooser(opened, study.metric),
        )

    if looks:
        until = until_resolved(tuple(looks))
        if opened is not None:
            refuse_peeked(planned(with_seeds(study, until.most)), opened, until)
        study = with_seeds(study, until.seeds)
        resolved = planned(study).model_copy(update={"until": until})
    else:
        resolved = planned(study)
    work = survey(resolved, opened)
    notes = check_effects(resolved, bundled_only=bundled_only)
    if machine.device_type(devices) == "cpu":
        notes += slow_formats(resolved, study.catalogue)
    notes += teacher_notes(resolved, opened)
    timings = Timings(opened, machine.device_names(devices))
    slots = machine.slots(devices)
    coming = open_trials(resolved)
    left = _left(work) + [(resolved.trials[k], resolved.trials[k].recipe.epochs) for k in coming]
    return Plan(
        study=study,
        resolved=resolved,
        store=store,
        devices=tuple(devices),
        work=work,
        seconds=timings.total(left, slots),
        seed_seconds=timings.total(_one_seed(resolved), slots),
        timed_from=timings.used,
        resolutions=resolutions(resolved, opened),
        near=near_misses(work, opened),
        changes=_changes(study, resolved, bundled_only),
        coming=coming,
        notes=tuple(notes),
        code=_others_code(study, resolved),
        untold=timings.untold,
    )


def _left(work: Work) -> list[tuple[Trial, int]]:
    """(trial, epochs left)."""
    begun, trials = dict(work.continuing), work.resolved.trials
    return [(trials[k], trials[k].recipe.epochs - (begun.get(k, 1) - 1)) for k in work.to_train]


def _one_seed(resolved: ResolvedStudy) -> list[tuple[Trial, int]]:
    first = {row.keys[0]: None for table in resolved.tables for row in table.rows}
    for table in resolved.tables:
        if table.tuning is not None and not table.tuning.once:
            first |= {key: None for row in table.rows for key in row.tuning[0]}
    return [(resolved.trials[key], resolved.trials[key].recipe.epochs) for key in first]


def _changes(
    study: Study, resolved: ResolvedStudy, bundled_only: bool
) -> dict[tuple[int, int], str]:
    from ablate.planning.preflight import probe

    seen: dict[tuple[object, ...], dict[str, int]] = {}
    found = {}
    for t, table in enumerate(resolved.tables):
        for r, row in enumerate(table.rows):
            trial = resolved.trials[row.keys[0]]
            same = (trial.recipe.model, trial.dataset.num_classes, trial.tricks_key())
            if row.above is not None and same not in seen:
                effects = probe(trial, bundled_only=bundled_only)
                labels = {spec.name: spec.label for spec in trial.tricks}
                seen[same] = {
                    labels[name]: effect.changed
                    for name, effect in effects.items()
                    if effect.changed is not None
                }
            found[t, r] = row_changes(resolved, table, row, study.catalogue, seen.get(same, {}))
    return found


def _others_code(study: Study, resolved: ResolvedStudy) -> tuple[str, ...]:
    """ "ablate-example 0.1 (label_noise)": whose code runs beside ablate's own."""
    specs = [spec for trial in resolved.trials.values() for spec in trial.tricks]
    tricks = tricks_in_words((study.catalogue.source(spec.name), spec.name) for spec in specs)
    return (*tricks, *in_words(study_functions(study)))


def row_tricks(plan: Plan, row: str) -> tuple[Row, Table, list[Trick]]:
    """The row that "4" or "mixup" names, and its tricks. Raises AblateError for none."""
    from ablate.tricks.construct import construct

    for table in plan.resolved.tables:
        for number, candidate in enumerate(table.rows):
            if row in (str(number), candidate.label, candidate.label.removeprefix("+ ")):
                trial = plan.resolved.trials[candidate.keys[0]]
                return candidate, table, construct(trial.tricks)
    labels = [r.label.removeprefix("+ ") for t in plan.resolved.tables for r in t.rows]
    raise AblateError(
        f"--hooks {row}: {plan.resolved.name} has no such row"
        f"{did_you_mean(row, list(dict.fromkeys(labels)))}"
    )
