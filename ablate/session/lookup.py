"""What to report on: a study file as it is now, or an invocation that is stored.

A stored study needs neither its file nor tricks: what resolves a file is imported for files alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.core.resolved_study import ResolvedStudy
from ablate.design import resolve
from ablate.design.local_files import MISSING
from ablate.design.uncalled import as_stored
from ablate.errors import AblateError, did_you_mean
from ablate.planning.tuning import chooser
from ablate.store.store import Store
from ablate.util.devices import compiler_lacks, sign_of_gpu
from ablate.util.own_code import is_function
from ablate.util.text import name_key

if TYPE_CHECKING:
    from ablate.study.model import Study


@dataclass(frozen=True)
class Found:
    """A study with at least one trial done. left_out: data sets (and columns) without any."""

    resolved: ResolvedStudy
    left_out: tuple[str, ...] = ()


def from_file(
    study: Study,
    store: Store,
    *,
    data_root: Path | None,
    command: str,
    places: Sequence[str] = (),
    seeds_asked: bool = False,
) -> Found:
    """The study as its file and options have it, with the numerics it was trained with.

    command: the report's. places: --store and the like, which a suggested command repeats.
    seeds_asked: whether the study's seeds are those of `--seeds`. If they are not, and the study
    was last run `--until resolved`, its last look is reported, at that look's level: testing its
    seeds again at 5% would be one look too many.

    Raises AblateError if none of its trials is done.
    """

    choose = chooser(store, study.metric)
    until = None
    earlier = store.latest_study(study.name)
    functions = [name for name in study.datasets if is_function(name)]  # a report calls none
    own = as_stored(functions, earlier.trials.values() if earlier is not None else ())
    if earlier is not None and earlier.until is not None and not seeds_asked:
        looked = replace(study, seeds=tuple(range(earlier.until.seeds)))
        asked = resolve(
            looked,
            data_root=data_root,
            command=command,
            allow_missing_data=True,
            need_files=False,
            own=own,
        )
        if _same_request(earlier, asked):
            study, until = looked, earlier.until
    kinds = ("cuda", "cpu") if sign_of_gpu() else ("cpu", "cuda")
    # Fast numerics compile where that works: the trials may be from a machine unlike this one.
    here = {kind: not compiler_lacks(kind) for kind in kinds}
    ways = [(kind, here[kind]) for kind in kinds] + [(kind, not here[kind]) for kind in kinds]
    best: tuple[int, ResolvedStudy] | None = None
    for place, (kind, compiles) in enumerate(ways):
        if place >= len(kinds) and (best is None or best[0] or study.numerics == "exact"):
            break
        resolved = resolve(
            study,
            data_root=data_root,
            device_type=kind,
            command=command,
            allow_missing_data=True,
            need_files=False,
            compiles=compiles,
            choose=choose,
            own=own,
        ).model_copy(update={"until": until})
        done = _done(resolved, store)
        if best is None or done > best[0]:
            best = done, resolved
        if done == len(resolved.order):  # no other way has more
            break
    assert best is not None
    done, resolved = best
    if done and not _missing_file(resolved):
        return _trimmed(resolved, store)
    missing = _missing_data(resolved) or _missing_file(resolved)
    if earlier is not None and missing and _same_request(earlier, resolved):
        return _trimmed(earlier, store)  # its data is elsewhere, its results are here
    if done:
        return _trimmed(resolved, store)
    options = shlex.join(["", *places]).removeprefix("''")
    hint = command.replace("ablate report", "ablate run", 1) + options
    if earlier is not None and _done(earlier, store):
        shown = f"ablate report {resolved.name}{options}"
        hint = f"it was last run as: {earlier.command}      {shown} shows that"
    raise AblateError(
        f"none of {resolved.name}'s {len(resolved.order):,} trials is done", hint=hint
    )


def from_store(name: str, store: Store) -> Found:
    """The latest invocation of a stored study. Raises AblateError if there is none, or damaged."""
    if name not in (known := store.studies()):  # typed in other characters that look the same
        alike = [other for other in known if name_key(other) == name_key(name)]
        name = alike[0] if len(alike) == 1 else name
    resolved = store.latest_study(name)
    if (damaged := store.damaged_run(name)) is not None:
        raise AblateError(
            f"the latest saved run of '{name}' is damaged: {damaged}",
            hint=f"ablate run {resolved.file if resolved else 'STUDY'} saves it again",
        )
    if resolved is None:
        raise AblateError(
            f"no study '{name}' in {store.path}{did_you_mean(name, known)}",
            hint=None if known else "ablate run STUDY trains one",
        )
    return _trimmed(resolved, store)


def _trimmed(resolved: ResolvedStudy, store: Store) -> Found:
    """Without the tables of which nothing is done, unless that is all of them."""
    kept, left_out = [], []
    for table in resolved.tables:
        keys = (key for row in table.rows for key in row.keys)
        if any(store.state(key).status != "new" for key in keys):  # mostly the first
            kept.append(table)
        else:
            left_out.append(" ".join(part for part in (table.dataset, table.column) if part))
    if not kept:
        return Found(resolved)
    return Found(resolved.model_copy(update={"tables": tuple(kept)}), tuple(left_out))


def _done(resolved: ResolvedStudy, store: Store) -> int:
    return sum(state.status == "done" for state in store.states(resolved.order).values())


def _missing_data(resolved: ResolvedStudy) -> bool:
    return any(trial.dataset.decoder == "missing" for trial in resolved.trials.values())


def _missing_file(resolved: ResolvedStudy) -> bool:
    return any(
        MISSING in (spec.params[name] for name in spec.files)
        for trial in resolved.trials.values()
        for spec in trial.tricks
    )


def _same_request(a: ResolvedStudy, b: ResolvedStudy) -> bool:
    def asked(study: ResolvedStudy) -> tuple[object, ...]:
        rows = [(t.dataset, t.column, t.seeds, [r.label for r in t.rows]) for t in study.tables]
        limits = {trial.dataset.limit for trial in study.trials.values()}
        return sorted(study.toml.values()), study.overrides, rows, limits

    return asked(a) == asked(b)
