"""`[[override]]` and `[trial.NAME]`; `--set` of a trick that no row has, which changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ablate.study.document import printable
from ablate.study.messages import found
from ablate.study.model import Ablation, NamedTrial, Override
from ablate.study.toml_positions import Path
from ablate.study.trick_configs import Names
from ablate.study.validator import Checker, alike
from ablate.util.text import name_key

_WHEN = ("model", "dataset", "trick")


def read_overrides(check: Checker, names: Names, value: Any) -> list[Override]:
    """Every `[[override]]`, in the order of the file."""
    if not isinstance(value, list):
        check.problem(("override",), "write [[override]], with two brackets", key=True)
        return []
    return [
        override
        for number, block in enumerate(value)
        if (override := _override(check, names, ("override", number), block)) is not None
    ]


def _override(check: Checker, names: Names, path: Path, value: Any) -> Override | None:
    if not isinstance(value, dict):
        check.wrong(path, "a table", value)
        return None
    check.unknown_keys(path, value, ("when", "set", "tricks", "drop"))
    when = _when(check, names, (*path, "when"), value)
    if not any(value.get(key) for key in ("set", "tricks", "drop")):
        check.problem(path, "changes nothing; add set, tricks.NAME.PARAMETER or drop", key=True)
    drop: list[str] = []
    for index, label in check.texts((*path, "drop"), value.get("drop", []), "a list of tricks"):
        if names.exists((*path, "drop", index), label):
            drop.append(label)
    return Override(
        when.get("model"),
        when.get("dataset"),
        when.get("trick"),
        check.settings((*path, "set"), value.get("set", {})),
        _params(check, names, (*path, "tricks"), value.get("tricks", {})),
        frozenset(drop),
        path,
    )


def _when(
    check: Checker, names: Names, path: Path, value: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    example = 'a table, as in when = { dataset = "cifar10" }'
    table = check.table(path, value.get("when", {}), example)
    check.unknown_keys(path, table, _WHEN)
    if table == value.get("when", {}) == {}:
        message = "has no condition; what always holds belongs in [recipe] or [tricks]"
        check.problem(path, message, key=True)
    when: dict[str, tuple[str, ...]] = {}
    for key in _WHEN:
        if key not in table:
            continue
        texts = check.one_or_many((*path, key), table[key])
        for place, text in texts:
            if key == "model":
                check.model_name(place, text)
            elif key == "dataset":
                check.dataset_name(place, text)
            else:
                names.exists(place, text)
        when[key] = tuple(text for _, text in texts)
    return when


def _params(check: Checker, names: Names, path: Path, value: Any) -> dict[str, Mapping[str, Any]]:
    changes: dict[str, Mapping[str, Any]] = {}
    for label, params in check.table(path, value).items():
        here = (*path, label)
        if not names.exists(here, label, key=True):
            continue
        config = names.configs.get(label)
        if config is not None and config.members:
            message = "a bundle has no parameters; name its member instead"
            check.problem(here, message, key=True)
            continue
        given = check.table(here, params, "a table of parameters")
        own = dict(config.params) if config else {}
        if config is not None or label not in names.aliases:
            names.params(here, names.trick_of(label), own | given, given)
        changes[label] = given
    return changes


def read_trials(check: Checker, names: Names, value: Any) -> dict[str, NamedTrial]:
    """Every `[trial.NAME]`."""
    example = "a table, as in [trial.teacher]"
    trials: dict[str, NamedTrial] = {}
    for name, block in check.table(("trial",), value, example).items():
        path: Path = ("trial", name)
        check.label(path, name)
        if twin := next((t for t in trials if name_key(t) == name_key(name)), None):
            check.problem(path, alike(name, twin), key=True)
        table = check.table(path, block, example)
        check.unknown_keys(path, table, ("tricks", "seed", "set"))
        tricks = tuple(
            label
            for index, label in check.texts(
                (*path, "tricks"), table.get("tricks", []), "a list of tricks"
            )
            if names.usable((*path, "tricks", index), label)
        )
        seed = table.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            check.wrong((*path, "seed"), "a whole number", seed)
        elif not 0 <= seed < 2**31:
            check.problem((*path, "seed"), f"{found(seed)} is out of range; must be at least 0")
        settings = check.settings((*path, "set"), table.get("set", {}))
        trials[name] = NamedTrial(name, tricks, seed, settings, path)
    return trials


def check_references(check: Checker, names: Names, trials: Mapping[str, NamedTrial]) -> None:
    """Every parameter "@NAME" names a trial, and no trial learns from itself."""
    for config in names.configs.values():
        for key, value in config.params.items():
            if isinstance(value, str) and value.startswith("@") and value[1:] not in trials:
                name = printable(value[1:])
                message = f"unknown trial '@{name}'; describe it under [trial.{name}]"
                check.problem((*config.path, key), message)
    for trial in trials.values():
        reached: set[str] = set()
        waiting = [trial.name]
        while waiting:
            for teacher in _teachers(names, trials[waiting.pop()]):
                if teacher == trial.name:
                    message = f"trial '{printable(trial.name)}' learns from itself"
                    check.problem((*trial.path, "tricks"), message)
                    waiting.clear()
                    break
                if teacher in trials and teacher not in reached:
                    reached.add(teacher)
                    waiting.append(teacher)


def _teachers(names: Names, trial: NamedTrial) -> list[str]:
    return [
        value[1:]
        for label in trial.tricks
        for leaf in names.leaves(label)
        if leaf in names.configs
        for value in names.configs[leaf].params.values()
        if isinstance(value, str) and value.startswith("@")
    ]


_FEW = 12  # names that a hint may list


def check_used(
    check: Checker,
    names: Names,
    said: Iterable[str],
    ablations: Sequence[Ablation],
    trials: Mapping[str, NamedTrial],
) -> None:
    """Report each of `said`, labels that `--set` gave something, that no row has."""
    used = used_labels(names, ablations, trials)
    for label in said:
        if label in used:
            continue
        same = [name for name in used if names.trick_of(name) == names.trick_of(label)]
        listed = same or [name for name in used if not _is_bundle(names, name)]
        hint = f"in its rows: {', '.join(listed)}" if 0 < len(listed) <= _FEW else None
        message = f"no row of this study has '{printable(label)}', so this changes nothing"
        check.problem(("tricks", label), message, hint=hint)


def used_labels(
    names: Names, ablations: Sequence[Ablation], trials: Mapping[str, NamedTrial]
) -> tuple[str, ...]:
    """The names in stacks and bases, bundles' members, and those of the trials they learn from."""
    waiting = [
        label
        for ablation in ablations
        for label in (*ablation.base, *(label for item in ablation.stack for label in item.labels))
    ]
    found: dict[str, None] = {}
    while waiting:
        label = waiting.pop(0)
        if label in found:
            continue
        found[label] = None
        config = names.configs.get(label)
        if config is None:
            continue
        waiting += config.members
        for value in config.params.values():
            if isinstance(value, str) and value.startswith("@") and value[1:] in trials:
                waiting += trials[value[1:]].tricks
    return tuple(found)


def _is_bundle(names: Names, label: str) -> bool:
    config = names.configs.get(label)
    return config is not None and bool(config.members)
