"""What a trick brings alone and on top of all others, from any tables that trained those sets.

One-at-a-time, cumulative, leave-one-out and factorial tables share trials: the sets are looked up
by what is in force in a row, and one fit over all rows involved gives the differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ablate import stats
from ablate.core.resolved_study import Table
from ablate.report import numbers
from ablate.report.model import Block, BlockCell, BlockLine, ReportTable
from ablate.report.tables import interactions
from ablate.report.tables.contrasts import cell
from ablate.report.tables.fit import Fitted, fit_rows

_DIFFERENCE = 2  # the column of a line
MOST_SHARES = 4  # tricks whose Shapley shares are shown: all subsets, 16 of them

Set = frozenset[str]
Terms = tuple[tuple[float, tuple[str, ...]], ...]  # weight, keys of a row


@dataclass(frozen=True)
class _Sets:
    """Tables of one data set, column and base: where every set of tricks was trained.

    rows: keys by set. controls: by (set, trick): the side changes of the trick on that set, without
    the trick. sided: tricks that have such rows, which are compared with those.
    """

    tables: tuple[int, ...]
    rows: dict[Set, tuple[str, ...]]
    controls: dict[tuple[Set, str], tuple[str, ...]]
    sided: Set

    def without(self, members: Set, trick: str) -> tuple[str, ...] | None:
        """The row that `members` is compared with to see what `trick` of it brings."""
        rest = members - {trick}
        return self.controls.get((rest, trick)) if trick in self.sided else self.rows.get(rest)

    def step(self, members: Set, trick: str) -> Terms | None:
        """`members` against the same without `trick`, or with its side changes alone."""
        row, other = self.rows.get(members), self.without(members, trick)
        return None if row is None or other is None else ((1.0, row), (-1.0, other))


def blocks(tables: Sequence[Table], reports: Sequence[ReportTable]) -> dict[int, list[Block]]:
    """The attribution blocks of a study, by the last table that has a part in each."""
    found: dict[int, list[Block]] = {}
    for group in _groups(tables):
        for full in dict.fromkeys(frozenset(tables[i].factors) for i in group.tables):
            made = _block(tables, reports, group, full) if len(full) > 1 else None
            if made is not None:
                found.setdefault(made[0], []).append(made[1])
    return found


def _groups(tables: Sequence[Table]) -> list[_Sets]:
    grouped: dict[object, list[int]] = {}
    for number, table in enumerate(tables):
        if table.factors:
            # rows that chose their settings are of other recipes than those that did not
            tuned = table.tuning
            same = (table.dataset, table.column, _base(table), table.seeds, str(tuned))
            grouped.setdefault(same, []).append(number)
    return [_sets(tables, numbers) for numbers in grouped.values()]


def _base(table: Table) -> Set:
    """Tricks in every row: each entry of the stack is missing in one."""
    return frozenset.intersection(*(frozenset(row.tricks) for row in table.rows))


def _sets(tables: Sequence[Table], members: Sequence[int]) -> _Sets:
    rows: dict[Set, tuple[str, ...]] = {}
    controls: dict[tuple[Set, str], tuple[str, ...]] = {}
    ambiguous: set[Set] = set()
    for number in members:
        table = tables[number]
        for i, row in enumerate(table.rows):
            here = frozenset(row.factors)
            if row.role == "control":
                for trick in _owners(table, i):
                    controls[here, trick] = row.keys
            elif rows.setdefault(here, row.keys) != row.keys:
                ambiguous.add(here)
    known = {here: keys for here, keys in rows.items() if here not in ambiguous}
    return _Sets(tuple(members), known, controls, frozenset(trick for _, trick in controls))


def _owners(table: Table, control: int) -> Set:
    """The tricks whose side changes a control row has."""
    here = frozenset(table.rows[control].factors)
    if table.reference == "full":
        return frozenset(table.factors) - here
    above = (row for row in table.rows if row.above == control and row.role != "control")
    return frozenset(trick for row in above for trick in frozenset(row.factors) - here)


def _block(
    tables: Sequence[Table], reports: Sequence[ReportTable], group: _Sets, full: Set
) -> tuple[int, Block] | None:
    """(the table that it is printed below, the block) for the tricks of `full`; None without one.

    A line needs several seeds and complete rows; those that have not are named below it.
    """
    order = next(tables[i].factors for i in group.tables if frozenset(tables[i].factors) == full)
    asked: dict[str, tuple[Terms, Terms]] = {}
    for trick in order:
        alone, on_top = group.step(frozenset({trick}), trick), group.step(full, trick)
        if alone is not None and on_top is not None:
            asked[trick] = (alone, on_top)
    if not asked:
        return None
    shares = _shares(group, order)
    parts = [*(part for terms in asked.values() for part in terms), *shares.values()]
    involved = _involved(tables, group, full, {keys for part in parts for _, keys in part})
    own = [tables[i] for i in involved]
    pool = _Pool.of(own, [reports[i] for i in involved], full)
    complete = {trick: terms for trick, terms in asked.items() if pool.complete(*terms)}
    judged = any(t.kind == "orderings" and frozenset(t.factors) == full for t in own)
    if judged or not all(pool.complete(terms) for terms in shares.values()):
        shares = {}
    # of tables at several looks the level of the strictest
    report = replace(reports[involved[-1]], alpha=min(reports[number].alpha for number in involved))
    made = [_line(pool, report, t, *terms, shares.get(t)) for t, terms in complete.items()]
    lines = tuple(line for line in made if line is not None)
    if not lines:
        return None
    caption = _caption(report, pool, own, lines, shapley=bool(shares))
    for why, names in (
        ("Not trained both alone and left out", [t for t in order if t not in asked]),
        ("Incomplete", [t for t in asked if t not in complete]),
    ):
        caption += [f"{why}: {', '.join(names)}."] if names else []
    return involved[-1], Block(
        name="attribution",
        title="each trick alone, and on top of all others",
        heads=("alone", "on top of all others", "difference", *(["Shapley"] if shares else [])),
        lines=lines,
        worded=_DIFFERENCE,
        caption=tuple(caption),
    )


def _shares(group: _Sets, order: tuple[str, ...]) -> dict[str, Terms]:
    """Shapley shares where every subset was trained; a trick with side changes has none."""
    if len(order) > MOST_SHARES or group.sided & set(order):
        return {}
    subsets = [
        frozenset(members)
        for size in range(len(order) + 1)
        for members in combinations(order, size)
    ]
    if not all(subset in group.rows for subset in subsets):
        return {}
    return {
        trick: tuple(
            (float(weight), group.rows[subset])
            for weight, subset in zip(stats.shapley(subsets, trick), subsets, strict=True)
        )
        for trick in order
    }


def _involved(
    tables: Sequence[Table], group: _Sets, full: Set, used: set[tuple[str, ...]]
) -> list[int]:
    """The tables that have a row of it, other than the baseline that they all may have."""
    found, missing = [], set(used)
    for number in group.tables:
        own = (row for row in tables[number].rows if row.factors and full.issuperset(row.factors))
        if used & {row.keys for row in own}:
            found.append(number)
            missing -= {row.keys for row in tables[number].rows}
    for number in group.tables:
        if missing & {row.keys for row in tables[number].rows}:
            found.append(number)
            missing -= {row.keys for row in tables[number].rows}
    return sorted(set(found))


@dataclass(frozen=True)
class _Pool:
    """One fit over the distinct rows of several tables."""

    keys: tuple[tuple[str, ...], ...]
    fitted: Fitted
    log_odds: Fitted | None

    @classmethod
    def of(cls, tables: Sequence[Table], reports: Sequence[ReportTable], full: Set) -> _Pool:
        """A fit over the rows of these tables that have none but the tricks of `full`."""
        found = {
            row.keys: told.seeds
            for table, report in zip(tables, reports, strict=True)
            for row, told in zip(table.rows, report.rows, strict=True)
            if frozenset(row.factors) <= full
        }
        metric, examples = (
            reports[0].metric,
            next((r.examples for r in reports if r.examples), None),
        )
        fitted = fit_rows(list(found), list(found.values()), metric, examples)
        return cls(tuple(found), fitted, interactions.on_log_odds(fitted, metric, examples))

    def complete(self, *parts: Terms) -> bool:
        """Whether every row of these has a value for every seed, of several seeds."""
        rows = {self.keys.index(keys) for part in parts for _, keys in part}
        return self.fitted.complete(*rows)

    def contrast(
        self, terms: Iterable[tuple[float, tuple[str, ...]]], fitted: Fitted | None = None
    ) -> stats.Contrast | None:
        """The contrast of these rows; None where all of it cancels, as of equal rows."""
        total: dict[int, float] = {}
        for weight, keys in terms:
            place = self.keys.index(keys)
            total[place] = total.get(place, 0.0) + weight
        if all(abs(weight) < 1e-12 for weight in total.values()):
            return None
        return (fitted or self.fitted).weighted(
            [(weight, place) for place, weight in total.items()]
        )


def _line(
    pool: _Pool, report: ReportTable, trick: str, alone: Terms, on_top: Terms, share: Terms | None
) -> BlockLine | None:
    apart = (*alone, *((-weight, keys) for weight, keys in on_top))
    gap = pool.contrast(apart)
    told = [pool.contrast(alone), pool.contrast(on_top), gap]
    told += [pool.contrast(share)] if share else []
    if not any(told):
        return None  # the trick changes nothing anywhere
    cells = [_cell(contrast, report.alpha) for contrast in told]
    effect = cells[_DIFFERENCE].effect
    if effect is None:
        return BlockLine(trick, tuple(cells))
    word, differs = interactions.word(effect, more=_brings(effect, report) < 0), ""
    if pool.log_odds and (other := pool.contrast(apart, pool.log_odds)):
        cells[_DIFFERENCE] = replace(
            cells[_DIFFERENCE], log_odds=stats.effect(other, alpha=report.alpha)
        )
        differs = interactions.apart(effect, cells[_DIFFERENCE].log_odds)
    words = ", ".join(part for part in (word, differs) if part)
    return BlockLine(trick, tuple(cells), word=words)


def _brings(effect: stats.Effect, report: ReportTable) -> float:
    """The effect, above 0 where it is for the better."""
    return effect.delta if report.metric.higher_is_better else -effect.delta


def _cell(contrast: stats.Contrast | None, alpha: float) -> BlockCell:
    """A difference of 0 without an interval where the rows are the same trials."""
    return BlockCell(0.0) if contrast is None else cell(stats.effect(contrast, alpha=alpha))


def _caption(
    report: ReportTable,
    pool: _Pool,
    tables: Sequence[Table],
    lines: Sequence[BlockLine],
    *,
    shapley: bool,
) -> list[str]:
    names = list(dict.fromkeys(table.ablation for table in tables))
    said = [
        "Alone: the trick against the baseline. On top of all others: all tricks against all but "
        "it. Difference: the first minus the second.",
        "Less together: it brings more alone. More together: it brings more with the others. Said "
        "only where the interval of the difference leaves out 0.",
        *interactions.sentences(list(lines), _DIFFERENCE),
    ]
    if shapley:
        said.append("Shapley: what it adds to those before it, averaged over all orders.")
    df = numbers.degrees_of(
        cell.effect.df for line in lines for cell in line.cells if cell and cell.effect
    )
    rows = numbers.count(len(pool.keys), "row")
    where = f" of {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else ""
    said.append(
        f"{numbers.level(report)} moderated intervals, not corrected, no verdicts; one fit over "
        f"{rows}{where} ({df} df)."
    )
    return said
