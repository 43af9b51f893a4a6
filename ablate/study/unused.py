"""`--set tricks.NAME...` for a trick that no row has, which would change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ablate.study.checks import Checker
from ablate.study.configured import Names
from ablate.study.document import printable
from ablate.study.values import Ablation, NamedTrial

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
