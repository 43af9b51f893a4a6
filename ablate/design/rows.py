"""The rows of an ablation, as sets of names: which are in force, which row is compared with which.

Sets of a stack's entries stand as indices: all of them, or those that some orders go through.
Nothing here knows what a trick does; a row's trials come from `ablate.design.variants`, which says
with `RowProblem` why one cannot be trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from ablate.design.text import setting_in_words
from ablate.study.model import Ablation, Study, TrickConfig
from ablate.study.orderings import Orders, entry_label
from ablate.study.settings import flat
from ablate.study.toml_positions import Path


@dataclass(frozen=True)
class RowPlan:
    """A row before its trials are known.

    active: names in force. side: names of which only the side changes (`set`) hold, in a control
    row. item: the entry of the stack that made this row, for problems. factors: the entries of the
    stack that are in force, by their labels.
    """

    label: str
    active: tuple[str, ...]
    role: Literal["baseline", "step", "branch", "control"]
    above: int | None
    side: tuple[str, ...] = ()
    item: Path = ()
    factors: tuple[str, ...] = ()


def plan_rows(study: Study, ablation: Ablation) -> tuple[RowPlan, ...]:
    """The rows of each of the ablation's tables, in the order of the table."""
    rows = {
        "cumulative": _cumulative,
        "one_at_a_time": _one_at_a_time,
        "leave_one_out": _leave_one_out,
        "factorial": _factorial,
        "orderings": _orderings,
    }[ablation.kind]
    return tuple(
        replace(row, factors=_in_force(ablation, row.active)) for row in rows(study, ablation)
    )


def factor_labels(ablation: Ablation) -> tuple[str, ...]:
    """What may be in force in a row or not: the stack's entries.

    None where two of them share a name: without one of them the other is not whole either.
    """
    labels = [label for item in ablation.stack for label in item.labels]
    if len(set(labels)) < len(labels):
        return ()
    return tuple(entry_label(item.labels) for item in ablation.stack)


def order_rows(ablation: Ablation) -> Orders:
    """The rows that each order goes through, the baseline's first; nothing for other kinds."""
    return sets_of_orders(ablation.orders)[1] if ablation.kind == "orderings" else ()


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


def _factorial(study: Study, ablation: Ablation) -> list[RowPlan]:
    return _sets(ablation, every_set(len(ablation.stack)))


def _orderings(study: Study, ablation: Ablation) -> list[RowPlan]:
    return _sets(ablation, sets_of_orders(ablation.orders)[0])


def _sets(ablation: Ablation, sets: Sequence[tuple[int, ...]]) -> list[RowPlan]:
    """A row for each set of the stack's entries, the empty one first, all on the baseline."""
    rows = [_baseline(ablation)]
    for members in sets[1:]:
        labels = tuple(label for member in members for label in ablation.stack[member].labels)
        full = len(members) == len(ablation.stack) and len(labels) > 2
        label = f"all {len(labels)} tricks" if full else " + ".join(labels)
        item = ablation.stack[members[-1]].path
        rows.append(RowPlan(label, (*ablation.base, *labels), "step", 0, item=item))
    return rows


def _in_force(ablation: Ablation, active: tuple[str, ...]) -> tuple[str, ...]:
    known = factor_labels(ablation)
    return tuple(
        label
        for label, item in zip(known, ablation.stack, strict=bool(known))
        if set(item.labels) <= set(active)
    )


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
    if any(row.label == label and row.active != trunk for row in rows):  # further down the table
        label += f", before {' + '.join(labels)}"
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


class RowProblem(Exception):
    """Why a row cannot be trained; the planner adds the place in the file, unless `path` is it."""

    def __init__(self, message: str, *, hint: str | None = None, path: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path


Set = tuple[int, ...]  # ascending


def every_set(entries: int) -> tuple[Set, ...]:
    """All subsets: the empty one, each entry, each pair, ..., all."""
    return tuple(
        members for size in range(entries + 1) for members in combinations(range(entries), size)
    )


def sets_of_orders(
    orders: Sequence[Sequence[int]],
) -> tuple[tuple[Set, ...], tuple[tuple[int, ...], ...]]:
    """(the distinct sets that the orders go through, of each order the index of every set).

    The empty set comes first, then sets as orders first reach them: two orders that agree on which
    entries come first, whatever their order, share that row.
    """
    found: dict[Set, int] = {(): 0}
    paths = []
    for order in orders:
        path = [0]
        for length in range(1, len(order) + 1):
            members = tuple(sorted(order[:length]))
            path.append(found.setdefault(members, len(found)))
        paths.append(tuple(path))
    return tuple(found), tuple(paths)
