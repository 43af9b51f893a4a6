"""CSV and JSON: full precision, ASCII minus, every seed.

JSON: {"schema_version": 1, "tables": [...]}. Accuracies are in percent and differences in points
("unit" says so; other metrics are as measured), times in seconds, `time_ratio` is a factor, `macs`
are multiply-adds of one test image. NaN is null. The document is only ever extended. CSV: one line
per row of a table and one for its total, the same numbers, the metric of every seed in `seed_0`,
`seed_1`, …. Where a publication was asked for, `paper` and `published` hold its figures.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ablate.report.escape import visible
from ablate.report.model import Comparison, ReportRow, ReportTable, SeedValue, Total
from ablate.report.published_model import Published, PublishedCell
from ablate.stats import Ratio

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
    document = {"schema_version": SCHEMA_VERSION, "tables": [as_dict(table) for table in tables]}
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    return _RAW.sub(_escaped, text) + "\n"


def render_csv(tables: Sequence[ReportTable]) -> str:
    """One line per row and per total, with a heading; the text ends in a newline."""
    seeds = sorted({seed for table in tables for seed in table.seeds})
    out = io.StringIO()
    fields = [*_FIELDS, *(f"seed_{seed}" for seed in seeds)]
    if any(table.paper for table in tables):
        fields += [f"published_{name}" for name in PUBLISHED]
    writer = csv.DictWriter(out, fields, restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        document = as_dict(table)
        common = {name: document[name] for name in _TABLE_FIELDS}
        for row in document["rows"]:
            values = {f"seed_{trial['seed']}": trial["value"] for trial in row["trials"]}
            published = row.get("published") or {}
            values |= {f"published_{name}": value for name, value in published.items()}
            writer.writerow(_csv(common | _flat(row) | values))
        if document["total"]:
            writer.writerow(_csv(common | _flat(document["total"] | {"role": "total"})))
    return out.getvalue()


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
        "metric": table.metric.name,
        "unit": "percent" if table.metric.accuracy else "",
        "seeds": list(table.seeds),
        "alpha": table.alpha,
        "margin": table.margin,
        "comparisons": table.comparisons,
        "df": table.df,
        "smallest_detectable": table.detectable,
        "seeds_needed": table.seeds_needed,
        "test_images": table.examples,
        "rows": [_row(row, table) for row in table.rows],
        "total": _total(table.total, scale) if table.total else None,
        "notes": list(table.notes),
        "failures": list(table.failures),
        "recipe": origin.headline,
        "epochs": origin.epochs,
        "machines": [{"count": n, "name": name} for n, name in origin.machines],
        "command": origin.command,
        "until": None
        if table.until is None
        else {
            "look": table.until.number,
            "looks": [{"seeds": seeds, "alpha": level} for seeds, level in table.until.looks],
        },
    } | ({"paper": _paper(table.paper)} if table.paper else {})


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
    } | ({"published": _published(row.published)} if table.paper else {})


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
    for name in ("se", "low", "high", "low_inner", "high_inner"):
        found[name] = _times(getattr(effect, name), scale) if effect else None
    for name in ("df", "p", "p_holm", "p_equivalence"):
        found[name] = getattr(effect, name) if effect else None
    return found


def _ratio(ratio: Ratio | None) -> dict[str, Any] | None:
    return None if ratio is None else {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high}


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _finite(value: Any) -> Any:
    """NaN and infinities, which JSON does not have, as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _escaped(match: re.Match[str]) -> str:
    """A hidden character as JSON writes it, so that it is seen and still reads back as itself."""
    character = match.group()
    return character if visible(character) == character else json.dumps(character)[1:-1]


_TABLE_FIELDS = ("study", "ablation", "dataset", "column", "kind", "reference", "metric", "unit")
_COST_FIELDS = ("images_per_second", "parameters", "macs")
_FIELDS = (
    *_TABLE_FIELDS,
    *("row", "role", "n", "mean", "sd", "verdict"),
    *("delta", "delta_se", "delta_df", "delta_low", "delta_high", "delta_band"),
    *("delta_p", "delta_p_holm", "delta_p_equivalence", "delta_shared_seeds"),
    *("baseline_delta", "baseline_low", "baseline_high"),
    *("secondary_metric", "secondary_mean"),
    *("epoch_seconds", "time_ratio", "time_ratio_low", "time_ratio_high"),
    *_COST_FIELDS,
)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    delta, base = row.get("delta") or {}, row.get("delta_baseline") or {}
    ratio, other = row.get("time_ratio") or {}, row.get("secondary") or {}
    flat = {name: row.get(name) for name in ("row", "role", "n", "mean", "sd", "verdict")}
    flat |= {f"delta_{name}": value for name, value in delta.items() if name != "delta"}
    flat |= {"delta": delta.get("delta"), "baseline_delta": base.get("delta")}
    flat |= {"baseline_low": base.get("low"), "baseline_high": base.get("high")}
    flat |= {"secondary_metric": other.get("metric"), "secondary_mean": other.get("mean")}
    flat |= {"epoch_seconds": row.get("epoch_seconds"), "time_ratio": ratio.get("ratio")}
    flat |= {name: row.get(name) for name in _COST_FIELDS}
    flat |= {"time_ratio_low": ratio.get("low"), "time_ratio_high": ratio.get("high")}
    return {name: value for name, value in flat.items() if name in _FIELDS}


def _csv(line: Mapping[str, Any]) -> dict[str, Any]:
    finite: dict[str, Any] = _finite(line)
    return {
        name: "" if value is None else visible(value) if isinstance(value, str) else value
        for name, value in finite.items()
    }
