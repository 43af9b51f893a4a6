"""Which settings two trials differ in, from their definitions alone: no study, no trick is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ablate.core.resolved_study import by_seeds
from ablate.core.trial import Trial, TrickSpec, engine_behaviour

# They follow image_size unless someone sets them: said once, by it.
_FOLLOWING: Final = ("eval_size", "eval_resize")
_ABSENT: Final = object()


@dataclass(frozen=True)
class SettingChange:
    """One setting. kind: "trick", "recipe", "numerics", "data", "teacher", "engine" or "seed".

    name: as a person says it. before, after: values as JSON has them, None where there is none.
    text: "none → mixup (alpha 0.2)".
    """

    kind: str
    name: str
    before: Any
    after: Any
    text: str


def changed_settings(a: Trial, b: Trial, *, seeds: bool = False) -> list[SettingChange]:
    """Everything that decides the result and differs; `seeds`: the seed as well."""
    found = _tricks(a, b)
    recipe = _differing(a.recipe.model_dump(mode="json"), b.recipe.model_dump(mode="json"))
    for name, (before, after) in recipe.items():
        if name not in _FOLLOWING or "image_size" not in recipe:
            found.append(_change("recipe", name, before, after))
    numerics = _differing(a.numerics.model_dump(mode="json"), b.numerics.model_dump(mode="json"))
    found += [
        _change("numerics", "numerics" if name == "profile" else name, before, after)
        for name, (before, after) in numerics.items()
    ]
    found += _data(a, b)
    if a.teacher != b.teacher:
        before, after = (t and t[:6] for t in (a.teacher, b.teacher))
        text = _arrow(before, after)
        found.append(SettingChange("teacher", "teacher", a.teacher, b.teacher, text))
    if a.engine != b.engine and any(t.engine != engine_behaviour(t.recipe) for t in (a, b)):
        found.append(_change("engine", "engine", a.engine, b.engine))
    if seeds and a.seed != b.seed:
        found.append(_change("seed", "seed", a.seed, b.seed))
    return found


def changed_rows(
    a: Sequence[Trial], b: Sequence[Trial], *, seeds: bool = False
) -> list[SettingChange]:
    """The same of two rows, by their trials of each seed, which may have chosen settings of their
    own: "0.3 (2 of 3 seeds), 0.1 (1 of 3) → 0.3". The values are then lists, by seed."""
    found = changed_settings(a[0], b[0], seeds=seeds)
    sides = [[flat(trial.recipe.model_dump(mode="json")) for trial in side] for side in (a, b)]
    varying = [
        name
        for name in dict.fromkeys(name for side in sides for recipe in side for name in recipe)
        if any(recipe.get(name) != side[0].get(name) for side in sides for recipe in side)
    ]
    chosen = []
    for name in varying:
        before, after = ([recipe.get(name) for recipe in side] for side in sides)
        if before != after:
            text = " → ".join(by_seeds(map(in_words, side)) for side in (before, after))
            chosen.append(SettingChange("recipe", name.replace("_", " "), before, after, text))
    told = {name.replace("_", " ") for name in varying}
    kept = [one for one in found if one.kind != "recipe" or one.name not in told]
    first = [one for one in kept if one.kind in ("trick", "recipe")]
    return [*first, *chosen, *(one for one in kept if one not in first)]


def _tricks(a: Trial, b: Trial) -> list[SettingChange]:
    before, after = ({spec.name: spec for spec in trial.tricks} for trial in (a, b))
    found = []
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            old, new = (None if spec is None else spec.params for spec in (one, other))
            text = f"{_trick(one)} → {_trick(other)}"
            found.append(SettingChange("trick", "trick", old, new, text))
            continue
        found += _params(one, other)
        if one.behaviour != other.behaviour:
            code = f"{name}, its code"
            short = _arrow(one.behaviour[:12], other.behaviour[:12])
            found.append(SettingChange("trick", code, one.behaviour, other.behaviour, short))
    return found


def _params(one: TrickSpec, other: TrickSpec) -> list[SettingChange]:
    exact = {param for spec in (one, other) for param in spec.exact}
    plain = ({p: v for p, v in spec.params.items() if p not in exact} for spec in (one, other))
    found = [
        _change("trick", f"{one.name} {param}", *pair) for param, pair in _differing(*plain).items()
    ]
    for param in sorted(exact):  # 1 and 1.0, and two orders, are two values of these
        texts = [s.written(param) if param in s.params else "none" for s in (one, other)]
        if texts[0] != texts[1]:
            values = one.params.get(param), other.params.get(param)
            text = " → ".join(texts)
            found.append(SettingChange("trick", f"{one.name} {param}", *values, text))
    return found


def _trick(spec: TrickSpec | None) -> str:
    if spec is None:
        return "none"
    shown = {
        name: spec.written(name) if name in spec.exact else value
        for name, value in spec.params.items()
    }
    params = ", ".join(f"{name} {in_words(value)}" for name, value in flat(shown).items())
    return f"{spec.name} ({params})" if params else spec.name


def _data(a: Trial, b: Trial) -> list[SettingChange]:
    one, other = a.dataset, b.dataset
    found = []
    names = [f"{ref.name} ({ref.variant})" if ref.variant else ref.name for ref in (one, other)]
    if names[0] != names[1]:
        found.append(_change("data", "data set", *names))
    elif one.fingerprint != other.fingerprint:
        prints = one.fingerprint, other.fingerprint
        text = _arrow(*(each[:8] for each in prints))
        found.append(SettingChange("data", f"{one.name}, its images", *prints, text))
    if one.decoder != other.decoder:
        found.append(_change("data", "decoder", one.decoder, other.decoder))
    if one.limit != other.limit:
        before, after = ("all" if ref.limit is None else f"{ref.limit:,}" for ref in (one, other))
        text = f"{before} → {after} images a split"
        found.append(SettingChange("data", "limit", one.limit, other.limit, text))
    if (one.held_out, one.fold) != (other.held_out, other.fold):
        parts = [ref.held_out and f"part {ref.fold} of {ref.held_out}" for ref in (one, other)]
        found.append(_change("data", "held out of train", *parts))
    if names[0] == names[1] and one.num_classes != other.num_classes:
        found.append(_change("data", "classes", one.num_classes, other.num_classes))
    return found


def _change(kind: str, name: str, before: Any, after: Any) -> SettingChange:
    words = name.replace("_", " ") if kind != "trick" else name
    return SettingChange(kind, words, before, after, _arrow(before, after))


def _arrow(before: Any, after: Any) -> str:
    return f"{in_words(before)} → {in_words(after)}"


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted names of what differs; 1 and 1.0 are equal."""
    one, other = flat(a), flat(b)
    return {
        name: (one.get(name), other.get(name))
        for name in dict.fromkeys([*one, *other])
        if one.get(name, _ABSENT) != other.get(name, _ABSENT)
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"crop": {"scale": [0.08, 1]}} → {"crop.scale": [0.08, 1]}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def in_words(value: Any) -> str:
    """A setting's value: 0.1, true, resnet50, (0.25, 0.5), none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"({', '.join(in_words(item) for item in value)})"
    return "none" if value is None else str(value)
