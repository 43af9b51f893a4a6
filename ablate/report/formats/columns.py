"""The columns of a terminal table, with several seeds and with one; intervals as characters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from ablate.report import captions, numbers
from ablate.report.formats import costs
from ablate.report.formats.escape import visible
from ablate.report.formats.grid import Cell, Column
from ablate.report.model import BlockLine, Comparison, ReportRow, ReportTable, Total
from ablate.report.numbers import plain

Judged = ReportRow | Total | BlockLine  # what may have a verdict

# Dropped from left to right where a terminal is too narrow; the model's cost goes as one. "top-5"
# is the secondary metric, which has another heading where the study compares another than top-1.
DROPPED = (*costs.MODEL, "top-5", "time", "Δ base", "±sd")
# Keeps a table's shape while rows go from incomplete to a verdict.
_VERDICT_WIDTH = 25
_STYLES = {"gain": "cyan", "loss": "yellow", "diverged": "red", "no effect": "red"}
_HEADS = {"above": ("Δ row", "above"), "baseline": ("Δ", "baseline"), "full": ("Δ full", "set")}


def columns(
    table: ReportTable,
    dropped: Collection[str],
    *,
    draw: bool,
    shown: Literal["auto", "all"] = "auto",
) -> list[Column]:
    """Columns left when `dropped` ones (of `DROPPED`) are gone; `draw`: the drawn interval too."""
    found = [_labels(table)]
    found.append(_means(table, with_sd="±sd" not in dropped))
    if table.compares:
        found += [_one_seed_delta(table), _bands(table)] if table.one_seed else [_deltas(table)]
    if not table.one_seed and table.has_verdicts:
        found.append(Column("", ("", "verdict"), _verdicts(table), minimum=_VERDICT_WIDTH))
    if shown == "all" and captions.knows_wins(table):
        texts = _plain(numbers.wins(row.delta.wins if row.delta else None) for row in table.judged)
        found.append(Column("", ("wins a", f"new seed [{numbers.level(table)}]"), texts))
    if "Δ base" not in dropped and table.has_base:
        found.append(_bases(table))
    if "top-5" not in dropped and table.secondary:
        found.append(_secondary(table))
    if "time" not in dropped and any(row.n for row in table.rows):
        found.append(_times(table, intervals=shown == "all"))
    found += [column for column in _costs(table, shown) if column.name not in dropped]
    if draw and not table.one_seed and (end := axis(table)):
        cells = _plain(line(table, end, row.delta) for row in table.judged)
        found.append(Column("", ("", scale(end)), cells))
    return found


def cost_columns(table: ReportTable) -> list[Column]:
    """The table of cost: the model's, the training's, and what it bought."""
    return [
        _labels(table),
        *_costs(table, "cost"),
        _times(table, intervals=True),
        _means(table, with_sd=True),
    ]


def droppable(table: ReportTable) -> list[str]:
    """The names of `DROPPED` that this table has, in order."""
    present = {column.name for column in columns(table, (), draw=False)}
    return [name for name in DROPPED if name in present]


def mean_text(row: ReportRow, table: ReportTable, *, with_sd: bool) -> str:
    """ "89.8 ±0.4", "80.4 (n 2)" for a row short of seeds."""
    if row.n < len(table.seeds):
        return f"{numbers.mean(row.mean, table)} (n {row.n})".strip()
    mean = numbers.mean(row.mean, table)
    if not with_sd or row.sd is None:
        return mean
    return f"{mean} ±{numbers.fixed(row.sd * table.metric.scale, table.decimals)}"


def verdict_text(row: Judged) -> str:
    """ "▲ gain", "○ unresolved †"."""
    mark = captions.MARKS[row.mark]
    return f"{mark} {row.verdict}{' †' if row.dagger else ''}".strip()


def verdict_cell(row: Judged) -> Cell:
    """The verdict in its colour."""
    return Cell(verdict_text(row), _STYLES.get(row.mark, ""))


def band_text(row: ReportRow, table: ReportTable) -> str:
    """ "inside ±1.4": one seed's difference against re-running alone."""
    if row.verdict:
        return verdict_text(row)
    found = row.delta
    if found is None or found.band is None or found.delta is None:
        return ""
    where = "inside" if abs(found.delta) <= found.band else "outside"
    return f"{where} ±{numbers.fixed(found.band * table.metric.scale, table.decimals)}"


def times(table: ReportTable, *, intervals: bool) -> list[str]:
    """ "4.1 s ×0.51", "–" where times may not be compared; the total has a ratio only."""
    clock = numbers.Clock.of(row.seconds for row in table.rows)
    texts = [time_text(row, clock) for row in table.rows]
    width = max(map(len, texts), default=0)
    ratios = numbers.ratios([row.ratio for row in table.judged], intervals=intervals)
    texts += [""] if table.total else []
    return [f"{t.rjust(width)} {r}".rstrip() for t, r in zip(texts, ratios, strict=True)]


def time_text(row: ReportRow, clock: numbers.Clock) -> str:
    """ "8.0 s", "–" where it may not be compared, nothing where nothing was trained."""
    if row.seconds is None:
        return "–" if row.n else ""
    return clock.text(row.seconds)


def _plain(texts: object) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)  # type: ignore[attr-defined]


def _labels(table: ReportTable) -> Column:
    labels = (*(row.label for row in table.rows), *([table.total.label] if table.total else []))
    return Column("", (visible(captions.title(table)), ""), _plain(map(visible, labels)))


def _times(table: ReportTable, *, intervals: bool) -> Column:
    level = f" {captions.RATIO_LEVEL}" if intervals and captions.ratio_intervals(table) else ""
    return Column("time", ("time per", f"epoch{level}"), _plain(times(table, intervals=intervals)))


def _costs(table: ReportTable, shown: costs.Shown) -> list[Column]:
    heads = {
        costs.MODEL[0]: ("M", "params"),
        costs.MODEL[1]: ("GMACs", ""),
        costs.SPEED: ("images/s", ""),
    }
    below = [""] if table.total else []
    return [
        Column(name, heads[name], _plain([*texts, *below]), right=True)
        for name, texts in costs.cells(table, shown)
    ]


def _means(table: ReportTable, *, with_sd: bool) -> Column:
    label = visible(table.metric.label)
    if table.one_seed:
        cells = _plain(numbers.mean(row.mean, table) for row in table.rows)
        return Column("", (label, table.metric.unit), cells, right=True)
    texts = [mean_text(row, table, with_sd=with_sd) for row in table.rows]
    width = max((len(text.split(" ")[0]) for text in texts), default=0)
    aligned = [" " * (width - len(text.split(" ")[0])) + text for text in texts]
    cells = _plain([*aligned, *([""] if table.total else [])])
    return Column("±sd" if with_sd else "", (visible(table.metric.heading), "±sd" * with_sd), cells)


def _deltas(table: ReportTable) -> Column:
    head = f"Δ {visible(captions.reference(table))}"
    cells = _plain(numbers.delta_texts(table, [row.delta for row in table.judged]))
    interval = f"[{numbers.level(table)} interval]" if table.df is not None else ""
    return Column("Δ", (head, interval), cells)


def _one_seed_delta(table: ReportTable) -> Column:
    cells = _plain(numbers.delta(row.delta, table) for row in table.rows)
    head = ("Δ to", visible(table.against)) if table.against else _HEADS[table.reference]
    return Column("", head, cells, right=True)


def _bands(table: ReportTable) -> Column:
    cells = tuple(Cell(band_text(row, table), _STYLES.get(row.mark, "")) for row in table.rows)
    return Column("", ("re-run noise", f"({numbers.level(table)} band)"), cells)


def _verdicts(table: ReportTable) -> tuple[Cell, ...]:
    return tuple(map(verdict_cell, table.judged))


def _bases(table: ReportTable) -> Column:
    # one over fewer seeds needs their number, for which there is no room
    whole = [
        row.base and (row.base.effect or row.base.shared == len(table.seeds)) for row in table.rows
    ]
    texts = [
        numbers.delta(row.base, table) if of_all else ""
        for row, of_all in zip(table.rows, whole, strict=True)
    ]
    cells = _plain([*texts, *([""] if table.total else [])])
    return Column("Δ base", ("Δ", "base"), cells, right=True)


def _secondary(table: ReportTable) -> Column:
    assert table.secondary
    texts = [numbers.secondary(row.secondary, table) for row in table.rows]
    cells = _plain([*texts, *([""] if table.total else [])])
    return Column("top-5", (table.secondary.label, table.secondary.unit), cells, right=True)


_HALF = 9  # cells on either side of zero


def axis(table: ReportTable) -> float | None:
    """The axis' end in points: the next round number beyond every interval.

    None without any interval, and where a number is beyond all that can be drawn.
    """
    effects = [row.delta.effect for row in table.judged if row.delta and row.delta.effect]
    ends = [abs(end) for e in effects for end in (e.low, e.high) if end is not None]
    if not ends:
        return None
    reach = max(ends) * table.metric.scale
    steps = (m * 10.0**e for e in range(-6, 300) for m in (1, 2, 3, 5))
    return next((step for step in steps if step >= reach), None)


def scale(end: float) -> str:
    """The axis' labels: "−3       0       +3"."""
    label = plain(end)
    left, right = f"−{label}", f"+{label}"
    return left + "0".rjust(_HALF + 1 - len(left)) + right.rjust(_HALF)


def line(table: ReportTable, end: float, comparison: Comparison | None) -> str:
    """One interval: "─┼●──"; empty for rows without one."""
    effect = comparison.effect if comparison else None
    if effect is None or effect.low is None or effect.high is None:
        return ""

    def at(value: float) -> int:
        return _HALF + round(value * table.metric.scale / end * _HALF)

    cells = [" "] * (2 * _HALF + 1)
    cells[_HALF] = "│"
    for i in range(at(effect.low), at(effect.high) + 1):
        cells[i] = "┼" if i == _HALF else "─"
    cells[at(effect.delta)] = "●"
    return "".join(cells).rstrip()
