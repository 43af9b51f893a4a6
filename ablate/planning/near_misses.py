"""Near misses: stored trials that would be this study's but for one setting."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.core.trial import Trial
    from ablate.planning.work import Work
    from ablate.store.store import Store


@dataclass(frozen=True)
class NearMiss:
    """So many stored trials differ from a trial to be trained in `setting` alone.

    stored, wanted: its value there and here, where it is the same for all of them, else None.
    """

    count: int
    setting: str
    stored: str | None
    wanted: str | None


def near_misses(work: Work, store: Store | None) -> tuple[NearMiss, ...]:
    """For the trials that are to be trained, most frequent first."""
    if store is None or not work.new:
        return ()
    # Another seed or another row is no near miss: only trials that share both are compared.
    wanted: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for key in work.new:
        flat = _flat(work.resolved.trials[key])
        wanted.setdefault((flat["seed"], flat["tricks"]), []).append(flat)
    own = set(work.resolved.trials)
    found: Counter[str] = Counter()
    values: dict[str, set[tuple[str, str]]] = {}
    for key in store.keys():  # noqa: SIM118 - a store is no dict
        if key in own:
            continue
        trial = store.trial(key)
        if trial is None or trial.dataset.held_out or store.state(key).status != "done":
            continue  # what settings were chosen by is no near miss of what is trained with them
        stored = _flat(trial)
        # one stored trial counts once, for the first trial that it nearly is
        for flat in wanted.get((stored["seed"], stored["tricks"]), ()):
            names = _differences(stored, flat)
            if len(names) == 1:
                found[names[0]] += 1
                pair = (_shown(stored.get(names[0])), _shown(flat.get(names[0])))
                values.setdefault(names[0], set()).add(pair)
                break
    return tuple(_near_miss(n, name, values[name]) for name, n in found.most_common())


def _near_miss(count: int, setting: str, values: set[tuple[str, str]]) -> NearMiss:
    stored, wanted = next(iter(values)) if len(values) == 1 else (None, None)
    return NearMiss(count, setting, stored, wanted)


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    names = []
    for name in a.keys() | b.keys():
        if a.get(name) != b.get(name):
            names.append(name)
            if len(names) > 1:
                return []
    return names


def _flat(trial: Trial) -> dict[str, Any]:
    """What the key is made of, as dotted names; tricks by their names."""
    document = trial.identity()
    del document["tricks"]
    flat: dict[str, Any] = {"tricks": tuple(sorted(spec.name for spec in trial.tricks))}
    for spec in trial.tricks:
        flat[f"tricks.{spec.name} (its code)"] = spec.behaviour
        for name, value in spec.params.items():
            as_keyed = spec.written(name) if name in spec.exact else value
            flat[f"tricks.{spec.name}.{name}"] = as_keyed
    _flatten(document, "", flat)
    return flat


def _flatten(value: dict[str, Any], prefix: str, into: dict[str, Any]) -> None:
    for name, item in value.items():
        if isinstance(item, dict):
            _flatten(item, f"{prefix}{name}.", into)
        else:
            into[prefix + name] = tuple(item) if isinstance(item, list) else item


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
