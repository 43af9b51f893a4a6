"""The rows of an ablation, as sets of names: which are in force, which row is compared with which.

Nothing here knows what a trick does; a row's trials come from `ablate.design.variants`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ablate.design.words import setting_in_words
from ablate.study.positions import Path
from ablate.study.settings import flat
from ablate.study.values import Ablation, Study, TrickConfig


@dataclass(frozen=True)
class RowPlan:
    """A row before its trials are known.

    active: names in force. side: names of which only the side changes (`set`) hold, in a control
    row. item: the entry of the stack that made this row, for problems.
    """

    label: str
    active: tuple[str, ...]
    role: Literal["baseline", "step", "branch", "control"]
    above: int | None
    side: tuple[str, ...] = ()
    item: Path = ()


def plan_rows(study: Study, ablation: Ablation) -> tuple[RowPlan, ...]:
    """The rows of each of the ablation's tables, in the order of the table."""
    rows = {
        "cumulative": _cumulative,
        "one_at_a_time": _one_at_a_time,
        "leave_one_out": _leave_one_out,
    }[ablation.kind]
    return tuple(rows(study, ablation))


def has_total(ablation: Ablation, rows: tuple[RowPlan, ...]) -> bool:
    """Whether the last trunk row's difference from the baseline says something that no row does."""
    steps = [row for row in rows if row.role == "step"]
    return ablation.kind == "cumulative" and bool(steps) and steps[-1].above != 0


def configs_behind(study: Study, label: str) -> list[TrickConfig]:
    """The label's configuration and, of a bundle, those of all members: bundles come first."""
    config = study.config(label)
    found = [config]
    for member in config.members:
        found += configs_behind(study, member)
    return found


def _cumulative(study: Study, ablation: Ablation) -> list[RowPlan]:
    rows = [_baseline(ablation)]
    trunk, last = ablation.base, 0
    for item in ablation.stack:
        above = _control(study, rows, trunk, item.labels, last, "+ ", item.path)
        label = "+ " + " + ".join(item.labels)
        role: Literal["branch", "step"] = "branch" if item.branch else "step"
        rows.append(RowPlan(label, (*trunk, *item.labels), role, above, item=item.path))
        if not item.branch:
            trunk, last = (*trunk, *item.labels), len(rows) - 1
    return rows


def _one_at_a_time(study: Study, ablation: Ablation) -> list[RowPlan]:
    rows = [_baseline(ablation)]
    for item in ablation.stack:
        above = _control(study, rows, ablation.base, item.labels, 0, "", item.path)
        label = " + ".join(item.labels)
        rows.append(RowPlan(label, (*ablation.base, *item.labels), "step", above, item=item.path))
    return rows


def _leave_one_out(study: Study, ablation: Ablation) -> list[RowPlan]:
    stack = tuple(label for item in ablation.stack for label in item.labels)
    everything = (*ablation.base, *dict.fromkeys(stack))
    count = len(everything) - len(ablation.base)
    full = f"all {count} tricks" if count > 1 else everything[-1]
    rows = [RowPlan(full, everything, "baseline", None, item=ablation.stack[-1].path)]
    for item in ablation.stack:
        rest = tuple(label for label in everything if label not in item.labels)
        name = " and ".join(item.labels)
        # what the trick itself is worth, apart from the settings that came with it
        if sides := _sides(study, item.labels):
            label = f"without {name}, with its {_sides_in_words(study, sides, rest)}"
            rows.append(RowPlan(label, rest, "control", 0, sides, item.path))
        rows.append(RowPlan(f"without {name}", rest, "step", 0, item=item.path))
    return rows


def _baseline(ablation: Ablation) -> RowPlan:
    label = " + ".join(ablation.base) or "baseline"
    item = ablation.stack[0].path if ablation.stack else (*ablation.path, "stack")
    return RowPlan(label, ablation.base, "baseline", None, item=item)


def _control(
    study: Study,
    rows: list[RowPlan],
    trunk: tuple[str, ...],
    labels: tuple[str, ...],
    last: int,
    prefix: str,
    item: Path,
) -> int:
    """The row that `labels` on `trunk` is compared with: a control where they bring settings."""
    sides = _sides(study, labels)
    if not sides:
        return last
    for index, row in enumerate(rows):
        if row.role == "control" and row.active == trunk and row.side == sides:
            return index
    label = f"{prefix}{_sides_in_words(study, sides, trunk)} alone"
    rows.append(RowPlan(label, trunk, "control", last, sides, item))
    return len(rows) - 1


def _sides(study: Study, labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        label for label in labels if any(config.settings for config in configs_behind(study, label))
    )


def _sides_in_words(study: Study, labels: tuple[str, ...], active: tuple[str, ...]) -> str:
    """What comes with the tricks: their own settings, and what an override that waits for one of
    them changes, everywhere, of the recipe and of the `active` tricks."""
    configs = [config for label in labels for config in configs_behind(study, label)]
    settings = {key: value for config in configs for key, value in flat(config.settings).items()}
    names = {config.label for config in configs}
    there = {config.label for label in active for config in configs_behind(study, label)}
    for rule in study.rules:
        if (
            not names & set(rule.tricks or ())
            or rule.datasets is not None
            or rule.models is not None
        ):
            continue
        settings |= flat(rule.settings)
        for label, params in rule.params.items():
            if label in there:
                settings |= {f"{label}.{key}": value for key, value in params.items()}
    return ", ".join(setting_in_words(key, value) for key, value in settings.items())
