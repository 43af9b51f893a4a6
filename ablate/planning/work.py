"""Which trials of a study are done, shared with other studies, begun, or new."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ablate.errors import AblateError, did_you_mean
from ablate.store import attempt_reader

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.store.store import Store, TrialState

# Not trained again unless asked: as the runner has it, which imports more than this needs.
FINAL = frozenset({"done", "diverged", "no_effect"})

Mark = Literal["done", "shared", "running", "failed", "new"]


@dataclass(frozen=True)
class Work:
    """The trials of a study, by what has to be done with them; keys in the order of work.

    done: have a final result, those of `shared` among them. shared: key → the other study that
    trained it; only trials that this study never asked for before. continuing: (key, epoch that is
    next). new: nothing to go on from. again: final, but to be trained anew.
    """

    resolved: ResolvedStudy
    states: Mapping[str, TrialState]
    done: tuple[str, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)
    continuing: tuple[tuple[str, int], ...] = ()
    new: tuple[str, ...] = ()
    again: frozenset[str] = frozenset()

    @property
    def to_train(self) -> tuple[str, ...]:
        """What `run` would train, in the order of work."""
        begun = {key for key, _ in self.continuing}
        return tuple(k for k in self.resolved.order if k in begun or k in set(self.new))

    def mark(self, key: str) -> Mark:
        """How a trial is drawn."""
        if key in self.again:
            return "new"
        if key in self.shared:
            return "shared"
        status = self.states[key].status if key in self.states else "new"
        if status == "done" or status == "running":
            return status
        return "failed" if status in ("failed", "oom", "diverged", "no_effect") else "new"

    def counts(self) -> str:
        """ "30 trials, 6 shared, 24 to train"."""
        total = len(self.resolved.order)
        own = len(self.done) - len(self.shared)
        parts = [f"{total:,} trial{'s' * (total != 1)}"]
        if own:
            parts.append(f"{own:,} done")
        if self.shared:
            parts.append(f"{len(self.shared):,} shared")
        if len(self.continuing) == 1:
            parts.append(f"1 continues at epoch {self.continuing[0][1]}")
        elif self.continuing:
            parts.append(f"{len(self.continuing):,} continue")
        parts.append(f"{len(self.new):,} to train")
        return ", ".join(parts)


def survey(
    resolved: ResolvedStudy,
    store: Store | None,
    again: frozenset[str] = frozenset(),
    tried: AbstractSet[str] = frozenset(),
) -> Work:
    """Look each trial up in the store. Call it before the invocation is saved.

    tried: keys that this run has tried already; those without a result are not to be trained.
    """
    if store is None:
        return Work(resolved, {}, new=resolved.order, again=again)
    states = store.states(resolved.order)
    lost = _without_weights(resolved, store)
    ended = (k for k in resolved.order if states[k].status in FINAL)
    done = tuple(k for k in ended if k not in again and (k not in lost or k in tried))
    over = tried | set(done)
    left = [k for k in resolved.order if k not in over or states[k].status == "new"]
    continuing = tuple((k, states[k].kept + 1) for k in left if states[k].kept and k not in again)
    begun = {key for key, _ in continuing}
    return Work(
        resolved,
        states,
        done=done,
        shared=_shared(resolved, store, done),
        continuing=continuing,
        new=tuple(k for k in left if k not in begun),
        again=again,
    )


def _without_weights(resolved: ResolvedStudy, store: Store) -> set[str]:
    """Teachers whose weights are there and damaged: they are trained again."""
    teachers = {t.teacher for t in resolved.trials.values() if t.teacher is not None}
    return {
        key
        for key in teachers & set(resolved.order)
        if attempt_reader.has_weights(store.path, key)
        and attempt_reader.weights(store.path, key) is None
    }


def _shared(resolved: ResolvedStudy, store: Store, done: tuple[str, ...]) -> dict[str, str]:
    if not done:
        return {}
    own = store.latest_study(resolved.name)
    unknown = set(done) - set(own.trials if own else ())
    found: dict[str, str] = {}
    for name in store.studies():
        if name == resolved.name or not unknown:
            continue
        other = store.latest_study(name)
        for key in unknown & set(other.trials if other else ()):
            found[key] = name
        unknown -= set(found)
    return {key: found[key] for key in done if key in found}


def trained_with(resolved: ResolvedStudy, trick: str) -> frozenset[str]:
    """Keys of the trials that a trick, by its name or alias, is part of. For `--retrain`."""
    keys = {
        key
        for key, trial in resolved.trials.items()
        for spec in trial.tricks
        if trick in (spec.name, spec.label, spec.bundle)
    }
    if not keys:
        known = {spec.label for trial in resolved.trials.values() for spec in trial.tricks}
        raise AblateError(
            f"--retrain {trick}: no row of {resolved.name} has it"
            f"{did_you_mean(trick, sorted(known))}"
        )
    # whoever learns from a trial that is trained anew is trained anew
    while more := {
        key for key, trial in resolved.trials.items() if trial.teacher in keys and key not in keys
    }:
        keys |= more
    return frozenset(keys)
