"""JSON: full precision, ASCII minus, every seed.

{"schema_version": 1, "tables": [...], "notes": [...]}. Accuracies are in percent and differences in
points ("unit" says so, or another), times in seconds, `time_ratio` is a factor,
`macs` are multiply-adds of one test image. NaN is null. The document is only ever extended. Where a
publication was asked for, `paper` and `published` hold its figures. docs/reports.md names every
field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ablate.core.table_looks import TableLook
from ablate.report import captions
from ablate.report.formats.escape import visible
from ablate.report.model import (
    Block,
    BlockCell,
    Comparison,
    ReportRow,
    ReportTable,
    SeedValue,
    Total,
)
from ablate.report.published.data import Published, PublishedCell
from ablate.stats import Effect, Ratio, Wins

SCHEMA_VERSION = 1
# Of a row's published counterpart, by the names of `PublishedCell`.
PUBLISHED = (
    *("top1", "top5", "delta", "source", "delta_source", "table", "column", "step", "against"),
    *("asked", "inside", "minutes", "mparams", "gmacs"),
)

_RAW = re.compile(r"[^\n\x20-\x7e]")  # a newline is the document's own: strings have them escaped
_RECORDED = ("host", "device", "device_name", "torch", "ablate", "shared_device")


def render_json(tables: Sequence[ReportTable]) -> str:
    """All tables as one document; the text ends in a newline."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "tables": [as_dict(table) for table in tables],
        "notes": captions.notes(tables),
    }
    text = json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    return _RAW.sub(_escaped, text) + "\n"


def as_dict(table: ReportTable) -> dict[str, Any]:
    """A table as plain values; differences in the unit printed."""
    scale = table.metric.scale
    origin = table.provenance
    return {
        "study": table.study,
        "ablation": table.ablation or "main",
        "dataset": table.dataset,
        "column": table.column,
        "kind": table.kind,
        "reference": table.reference,
        "against": table.against or None,
        "metric": table.metric.name,
        "declared_metric": table.declared or table.metric.name,
        "unit": table.metric.unit_word,
        "seeds": list(table.seeds),
        "alpha": table.alpha,
        "margin": table.margin or None,
        "comparisons": table.comparisons,
        "df": table.df,
        "smallest_detectable": table.detectable,
        "smallest_detectable_best": table.detectable_best,
        "seeds_needed": table.seeds_needed,
        "seeds_needed_range": None if table.seeds_range is None else table.seeds_range._asdict(),
        "test_images": table.examples,
        "rows": [_row(row, table) for row in table.rows],
        "total": _total(table.total, scale) if table.total else None,
        "blocks": [_block(block, table) for block in table.blocks],
        "notes": list(table.notes),
        "failures": list(table.failures),
        "recipe": origin.headline,
        "epochs": origin.epochs,
        "machines": [{"count": n, "name": name} for n, name in origin.machines],
        "command": origin.command,
        "look": None if table.look is None else _look(table.look),
        "until": None
        if table.until is None
        else {
            "look": table.until.number,
            "looks": [{"seeds": seeds, "alpha": level} for seeds, level in table.until.looks],
        },
    } | ({"paper": _paper(table.paper)} if table.paper else {})


def _look(look: TableLook) -> dict[str, Any]:
    return {
        "number": look.number,
        "alpha": look.alpha,
        "error": look.error,
        "earlier": [
            {"seeds": list(one.seeds), "alpha": one.alpha, "verdicts": dict(one.verdicts)}
            for one in look.earlier
        ],
        "kept": not look.not_kept,
        "next_alpha": look.next_alpha,
    }


def _row(row: ReportRow, table: ReportTable) -> dict[str, Any]:
    scale = table.metric.scale
    other = table.secondary
    return {
        "row": row.label,
        "role": row.role,
        "tricks": list(row.tricks),
        "changes": row.changes,
        "n": row.n,
        "mean": _times(row.mean, scale),
        "sd": _times(row.sd, scale),
        "secondary": None
        if other is None
        else {"metric": other.name, "mean": _times(row.secondary, other.scale)},
        "delta": _comparison(row.delta, scale),
        "delta_baseline": _comparison(row.base, scale),
        "verdict": row.verdict,
        "epoch_seconds": row.seconds,
        "images_per_second": row.images_per_second,
        "parameters": row.parameters,
        "macs": row.macs,
        "time_ratio": _ratio(row.ratio),
        "trials": [_trial(cell, table) for cell in row.seeds],
        **({"diverged": vars(row.diverged)} if row.diverged else {}),
        **({"published": _published(row.published)} if table.paper else {}),
    }


def _block(block: Block, table: ReportTable) -> dict[str, Any]:
    return {
        "name": block.name,
        "title": block.title,
        "heads": list(block.heads),
        "signed": block.signed,
        "values": list(block.values),  # columns that are values, not differences, all the same
        "judged": block.judged,
        "comparisons": block.comparisons,
        "lines": [
            {
                "line": line.label,
                "cells": [_cell(cell, table.metric.scale) for cell in line.cells],
                "verdict": line.verdict,
                "word": line.word,
            }
            for line in block.lines
        ],
        "caption": list(block.caption),
    }


def _cell(cell: BlockCell | None, scale: float) -> dict[str, Any] | None:
    if cell is None:
        return None
    found: dict[str, Any] = {
        name: _times(getattr(cell, name), scale) for name in ("value", "low", "high")
    }
    found |= _tests(cell.effect, scale)
    if cell.log_odds is not None:
        ends = {"value": cell.log_odds.delta, "low": cell.log_odds.low, "high": cell.log_odds.high}
        found["log_odds"] = ends | {
            name: getattr(cell.log_odds, name) for name in ("se", "df", "p")
        }
    return found


def _paper(paper: Published) -> dict[str, Any]:
    return {
        "name": paper.name,
        "arxiv": paper.arxiv,
        "match": paper.match,
        "table": paper.table or None,
        "column": paper.column or None,
        "negated": paper.negated,
        "differs": paper.differs,
        "footnotes": list(paper.footnotes),
    }


def _published(cell: PublishedCell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    found = {name: getattr(cell, name) for name in PUBLISHED}
    return {n: float(v) if isinstance(v, Decimal) else v for n, v in found.items()}


def _total(total: Total, scale: float) -> dict[str, Any]:
    return {
        "row": total.label,
        "delta": _comparison(total.delta, scale),
        "verdict": total.verdict,
        "time_ratio": _ratio(total.ratio),
    }


def _trial(cell: SeedValue, table: ReportTable) -> dict[str, Any]:
    return {
        "seed": cell.seed,
        "key": cell.key,
        "status": cell.status,
        "message": cell.message,
        "value": _times(cell.values.get(table.metric.name), table.metric.scale),
        "metrics": dict(cell.values),  # as measured, accuracies as fractions
        "epoch_seconds": cell.epoch_seconds,
        "started": cell.started or None,
        "finished": cell.finished or None,
        **{name: cell.environment.get(name) for name in _RECORDED},
    }


def _comparison(comparison: Comparison | None, scale: float) -> dict[str, Any] | None:
    if comparison is None:
        return None
    effect = comparison.effect
    found: dict[str, Any] = {
        "reference": comparison.reference,
        "shared_seeds": comparison.shared,
        "delta": _times(comparison.delta, scale),
        "band": _times(comparison.band, scale),
    }
    if comparison.diverged_p is not None:
        found["diverged_p"] = comparison.diverged_p
    for name in ("low", "high"):
        found[name] = _times(getattr(effect, name), scale) if effect else None
    return found | _tests(effect, scale) | {"wins": _wins(comparison.wins)}


def _wins(wins: Wins | None) -> dict[str, float] | None:
    """How often the row would win a new seed, as fractions."""
    return None if wins is None else {"share": wins.share, "low": wins.low, "high": wins.high}


def _tests(effect: Effect | None, scale: float) -> dict[str, Any]:
    """What was computed of a difference, beside its interval; null without."""
    found: dict[str, Any] = {}
    for name in ("se", "low_inner", "high_inner"):
        found[name] = _times(getattr(effect, name), scale) if effect else None
    for name in ("df", "p", "p_holm", "p_equivalence"):
        found[name] = getattr(effect, name) if effect else None
    return found


def _ratio(ratio: Ratio | None) -> dict[str, Any] | None:
    return None if ratio is None else {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high}


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def finite(value: Any) -> Any:
    """NaN and infinities, which JSON does not have, as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _escaped(match: re.Match[str]) -> str:
    """A hidden character as JSON writes it, so that it is seen and still reads back as itself."""
    character = match.group()
    return character if visible(character) == character else json.dumps(character)[1:-1]
