"""Every difference that reports print, as rows for `ablate query`: the view `effects`.

They are computed by the report's own code, from the latest invocation of every stored study, so a
number here is the number there. Units are those of its JSON: accuracies in percent, their
differences in points, other metrics in their own unit, else as measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ablate.errors import AblateError, brief

if TYPE_CHECKING:
    from ablate.report.model import Block, BlockCell, Comparison, ReportRow, ReportTable
    from ablate.stats import Effect, Ratio, Wins
    from ablate.store.store import Store

# In the order of the view. label: the row as printed. trick: what the two rows differ in, as in
# "warmup" or "mixup + cutmix". against: what the reference is, "above", "baseline" or "full".
# quantity: "difference", or the column of a block. The rest: docs/query.md.
COLUMNS: Final = {
    "study": "VARCHAR",
    "ablation": "VARCHAR",
    "dataset": "VARCHAR",
    "setting": "VARCHAR",
    "role": "VARCHAR",
    "label": "VARCHAR",
    "trick": "VARCHAR",
    "reference": "VARCHAR",
    "against": "VARCHAR",
    "metric": "VARCHAR",
    "unit": "VARCHAR",
    "quantity": "VARCHAR",
    "n": "INTEGER",
    "mean": "DOUBLE",
    "sd": "DOUBLE",
    "delta": "DOUBLE",
    "se": "DOUBLE",
    "df": "DOUBLE",
    "low": "DOUBLE",
    "high": "DOUBLE",
    "low_inner": "DOUBLE",
    "high_inner": "DOUBLE",
    "p": "DOUBLE",
    "p_holm": "DOUBLE",
    "p_equivalence": "DOUBLE",
    "wins": "DOUBLE",
    "wins_low": "DOUBLE",
    "wins_high": "DOUBLE",
    "band": "DOUBLE",
    "verdict": "VARCHAR",
    "note": "VARCHAR",
    "alpha": "DOUBLE",
    "margin": "DOUBLE",
    "epoch_seconds": "DOUBLE",
    "time_ratio": "DOUBLE",
    "time_ratio_low": "DOUBLE",
    "time_ratio_high": "DOUBLE",
    "parameters": "BIGINT",
    "macs": "BIGINT",
}

_ONCE: Final = "settings chosen once"  # of a tuned table; what that leaves out: docs/tuning.md

Row = dict[str, Any]


def effects(store: Store, warn: Callable[[str], None]) -> list[Row]:
    """Rows with some or all of COLUMNS. A study that cannot be reported is told to `warn`."""
    from ablate.session.judged_tables import tables_of
    from ablate.session.lookup import from_store

    found: list[Row] = []
    for name in reversed(store.studies()):
        try:
            tables = tables_of(from_store(name, store).resolved, store)
            found += [row for table in tables for row in _of_table(table)]
        except AblateError as error:
            warn(f"effects leave out study {name}: {error.message}")
        except Exception as error:  # noqa: BLE001 - a damaged study must not hide the others
            warn(f"effects leave out study {name}, which cannot be read: {brief(error)}")
    return found


def _of_table(table: ReportTable) -> Iterator[Row]:
    common: Row = {
        "study": table.study,
        "ablation": table.ablation or "main",
        "dataset": table.dataset,
        "setting": table.column,
        "metric": table.metric.name,
        "unit": table.metric.unit_word,
        "alpha": table.alpha,
        "margin": table.margin or None,
    }
    if table.tuning is not None and table.tuning.once:
        common["note"] = _ONCE
    for row in table.rows:
        measured = common | _measured(row, table)
        yield (
            measured
            | _compared(table, row, row.delta, table.reference)
            | {"verdict": row.verdict or None}
            | _ratio(row.ratio)
        )
        # The unadjusted column of a report, which has no verdict.
        if row.base and row.delta and row.base.reference != row.delta.reference:
            yield measured | _compared(table, row, row.base, "baseline")
    if table.total is not None:
        last = next((r for r in reversed(table.rows) if r.role == "step"), table.rows[-1])
        yield (
            common
            | _measured(last, table)
            | _compared(table, last, table.total.delta, "baseline")
            | {"role": "total", "label": table.total.label, "verdict": table.total.verdict}
            | _ratio(table.total.ratio)
        )
    for block in table.blocks:
        for line in _of_block(block, table.metric.scale):
            notes = [note for note in (line["note"], common.get("note")) if note]
            yield common | line | {"note": ", ".join(notes) or None}


def _ratio(ratio: Ratio | None) -> Row:
    if ratio is None:
        return {}
    return {
        "time_ratio": ratio.ratio,
        "time_ratio_low": ratio.low,
        "time_ratio_high": ratio.high,
    }


def _measured(row: ReportRow, table: ReportTable) -> Row:
    scale = table.metric.scale
    return {
        "role": row.role,
        "label": row.label,
        "quantity": "difference",
        "n": row.n,
        "mean": _times(row.mean, scale),
        "sd": _times(row.sd, scale),
        "epoch_seconds": row.seconds,
        "parameters": row.parameters,
        "macs": row.macs,
    }


def _compared(table: ReportTable, row: ReportRow, found: Comparison | None, against: str) -> Row:
    if found is None:
        return {}
    scale, other = table.metric.scale, table.rows[found.reference]
    return {
        "trick": _trick(row, other),
        "reference": other.label,
        "against": against,
        "delta": _times(found.delta, scale),
        "band": _times(found.band, scale),
        **_tested(found.effect, scale),
        **_wins(found.wins),
    }


def _wins(wins: Wins | None) -> Row:
    if wins is None:
        return {}
    return {"wins": wins.share, "wins_low": wins.low, "wins_high": wins.high}


def _tested(effect: Effect | None, scale: float) -> Row:
    if effect is None:
        return {}
    scaled = ("se", "low", "high", "low_inner", "high_inner")
    plain = ("df", "p", "p_holm", "p_equivalence")
    return {name: _times(getattr(effect, name), scale) for name in scaled} | {
        name: getattr(effect, name) for name in plain
    }


def _of_block(block: Block, scale: float) -> Iterator[Row]:
    for line in block.lines:
        for place, (head, cell) in enumerate(zip(block.heads, line.cells, strict=False)):
            if cell is None:
                continue
            yield {
                "role": f"block:{block.name}",
                "label": line.label,
                "trick": line.label,
                "quantity": head,
                **_cell(cell, scale, signed=block.differs(place)),
                "verdict": line.verdict or None if place == block.judged else None,
                "note": line.word or None,
            }


def _cell(cell: BlockCell, scale: float, *, signed: bool) -> Row:
    bounds: Row = {"low": _times(cell.low, scale), "high": _times(cell.high, scale)}
    tested = {name: v for name, v in _tested(cell.effect, scale).items() if v is not None}
    return bounds | tested | {"delta" if signed else "mean": _times(cell.value, scale)}


def _trick(row: ReportRow, other: ReportRow) -> str:
    """What the rows differ in; the row's label where it is no trick."""
    mine, others = set(row.tricks), set(other.tricks)
    both = (*row.tricks, *other.tricks)
    differing = dict.fromkeys(trick for trick in both if (trick in mine) != (trick in others))
    return " + ".join(differing) or row.label.removeprefix("+ ").removeprefix("without ")


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None or value != value else value * scale


def columns_of(rows: list[Row]) -> Mapping[str, list[Any]]:
    """The rows by column, every one of COLUMNS."""
    return {name: [row.get(name) for row in rows] for name in COLUMNS}
