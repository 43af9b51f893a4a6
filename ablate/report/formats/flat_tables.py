"""CSV and Parquet: a line for every row of a table, for its total, and for every cell of a block.

The numbers are those of JSON, the metric of every seed stands in `seed_0`, `seed_1`, …. A line of a
block has the role "block:NAME"; its differences stand where those of rows do, its values under
`mean`, and `block_column` says which column of the block it is. These columns, those of trainings
that diverged, those of a publication, and `settings`, which says of a tuned table that its rows
chose once for all seeds, are there only where a table has such lines. In CSV a text that a
spreadsheet would compute stands behind an apostrophe.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from ablate.report import captions
from ablate.report.formats.escape import spreadsheet
from ablate.report.formats.json_tables import PUBLISHED, as_dict, finite
from ablate.report.model import ReportTable

Kind = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN"]  # as DuckDB and Parquet know them

_TABLE_FIELDS = ("study", "ablation", "dataset", "column", "kind", "reference", "metric", "unit")
_COST_FIELDS = ("images_per_second", "parameters", "macs")
_FIELDS = (
    *_TABLE_FIELDS,
    *("row", "role", "n", "mean", "sd", "verdict"),
    *("delta", "delta_se", "delta_df", "delta_low", "delta_high", "delta_band"),
    *("delta_p", "delta_p_holm", "delta_p_equivalence", "delta_shared_seeds"),
    *("wins", "wins_low", "wins_high"),
    *("baseline_delta", "baseline_low", "baseline_high"),
    *("secondary_metric", "secondary_mean"),
    *("epoch_seconds", "time_ratio", "time_ratio_low", "time_ratio_high"),
    *_COST_FIELDS,
)
_DIVERGED_FIELDS = ("diverged", "diverged_low", "diverged_high", "delta_diverged_p")
_LOG_ODDS_FIELDS = ("log_odds", "log_odds_low", "log_odds_high")
_BLOCK_FIELDS = ("block_column", "word", "mean_low", "mean_high")
_TEXTS = frozenset(
    {
        *_TABLE_FIELDS,
        "row",
        "role",
        "verdict",
        "secondary_metric",
        "block_column",
        "word",
        "against",
        "settings",
    }
    | {f"published_{name}" for name in ("source", "delta_source", "column", "step")}
    | {f"published_{name}" for name in ("against", "asked")}
)
_WHOLE = frozenset({"n", "diverged", "delta_shared_seeds", "parameters", "macs", "published_table"})


def fields(tables: Sequence[ReportTable]) -> dict[str, Kind]:
    """The columns in order, and what they hold; no value beside these is ever in a line."""
    seeds = sorted({seed for table in tables for seed in table.seeds})
    names = [*_FIELDS, *(_BLOCK_FIELDS if any(table.blocks for table in tables) else ())]
    blocks = (block for table in tables for block in table.blocks)
    cells = (cell for block in blocks for line in block.lines for cell in line.cells)
    if any(cell and cell.log_odds for cell in cells):
        names += _LOG_ODDS_FIELDS
    names += [f"seed_{seed}" for seed in seeds]
    if any(row.diverged for table in tables for row in table.rows):
        names += _DIVERGED_FIELDS
    if any(table.against for table in tables):
        names.append("against")
    if any(captions.chosen_once(table) for table in tables):
        names.append("settings")
    if any(table.paper for table in tables):
        names += [f"published_{name}" for name in PUBLISHED]
    return {name: _kind(name) for name in names}


def records(tables: Sequence[ReportTable]) -> Iterator[dict[str, Any]]:
    """The lines, with numbers as numbers; what a line has not is missing or None, NaN is None."""
    for table in tables:
        document = as_dict(table)
        common = {name: document[name] for name in _TABLE_FIELDS}
        if table.against:
            common["against"] = table.against
        if captions.chosen_once(table):
            common["settings"] = "chosen once"
        for row in document["rows"]:
            values = {f"seed_{trial['seed']}": trial["value"] for trial in row["trials"]}
            published = row.get("published") or {}
            values |= {f"published_{name}": value for name, value in published.items()}
            yield finite(common | _flat(row) | _diverged(row) | values)
        if document["total"]:
            total = document["total"] | {"role": "total"}
            yield finite(common | _flat(total) | _diverged(total))
        for block in document["blocks"]:
            for line in block["lines"]:
                for i, cell in enumerate(line["cells"]):
                    yield finite(common | _block_line(block, line, i, cell or {}))


def render_csv(tables: Sequence[ReportTable]) -> str:
    """One line per row and per total, with a heading; the text ends in a newline."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(fields(tables)), restval="", lineterminator="\n")
    writer.writeheader()
    for line in records(tables):
        writer.writerow({name: _shown(value) for name, value in line.items()})
    return out.getvalue()


def _kind(name: str) -> Kind:
    if name == "published_inside":
        return "BOOLEAN"
    return "VARCHAR" if name in _TEXTS else "BIGINT" if name in _WHOLE else "DOUBLE"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    delta, base = row.get("delta") or {}, row.get("delta_baseline") or {}
    ratio, other = row.get("time_ratio") or {}, row.get("secondary") or {}
    flat = {name: row.get(name) for name in ("row", "role", "n", "mean", "sd", "verdict")}
    flat |= {f"delta_{name}": value for name, value in delta.items() if name != "delta"}
    wins = delta.get("wins") or {}
    flat |= {"wins": wins.get("share"), "wins_low": wins.get("low"), "wins_high": wins.get("high")}
    flat |= {"delta": delta.get("delta"), "baseline_delta": base.get("delta")}
    flat |= {"baseline_low": base.get("low"), "baseline_high": base.get("high")}
    flat |= {"secondary_metric": other.get("metric"), "secondary_mean": other.get("mean")}
    flat |= {"epoch_seconds": row.get("epoch_seconds"), "time_ratio": ratio.get("ratio")}
    flat |= {name: row.get(name) for name in _COST_FIELDS}
    flat |= {"time_ratio_low": ratio.get("low"), "time_ratio_high": ratio.get("high")}
    return {name: value for name, value in flat.items() if name in _FIELDS}


def _diverged(row: Mapping[str, Any]) -> dict[str, Any]:
    """The share of its trainings that diverged, and the test against its reference's."""
    found: dict[str, Any] = {}
    if share := row.get("diverged"):
        found["diverged"] = share["count"]
        found |= {f"diverged_{end}": share[end] for end in ("low", "high")}
    p = (row.get("delta") or {}).get("diverged_p")
    return found if p is None else found | {"delta_diverged_p": p}


def _block_line(
    block: Mapping[str, Any], line: Mapping[str, Any], column: int, cell: Mapping[str, Any]
) -> dict[str, Any]:
    """One cell. The verdict stands with the column that it is about."""
    flat = {
        "row": line["line"],
        "role": f"block:{block['name']}",
        "block_column": block["heads"][column],
        "word": line["word"],
        "verdict": line["verdict"] if block["judged"] in (None, column) else "",
    }
    if not block["signed"] or column in block["values"]:
        names = {"mean": "value", "mean_low": "low", "mean_high": "high"}
        return flat | {name: cell.get(source) for name, source in names.items()}
    flat["delta"] = cell.get("value")
    if other := cell.get("log_odds"):
        flat |= {"log_odds": other["value"]}
        flat |= {f"log_odds_{end}": other[end] for end in ("low", "high")}
    found = {f"delta_{name}": value for name, value in cell.items() if name != "value"}
    return flat | {name: value for name, value in found.items() if name in _FIELDS}


def _shown(value: Any) -> Any:
    return "" if value is None else spreadsheet(value) if isinstance(value, str) else value


# It writes one file, and neither looks for extensions nor at anything of the user's.
_ALONE: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}


def render_parquet(tables: Sequence[ReportTable]) -> bytes:
    """A Parquet file with the columns of CSV, typed, written by DuckDB.

    Texts are as they are: what reads Parquet does not obey them.
    """
    import duckdb

    columns = fields(tables)
    lines = list(records(tables))
    filled = [[_held(line.get(name)) for line in lines] for name in columns]
    # One statement for all lines: DuckDB takes milliseconds for each.
    wanted = ", ".join(f"unnest(?::{kind}[]) AS {_quoted(name)}" for name, kind in columns.items())
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config=_ALONE) as base:
        file = Path(folder) / "report.parquet"
        base.execute(f"CREATE TABLE report AS SELECT {wanted}", filled)
        base.table("report").write_parquet(str(file), compression="zstd")
        return file.read_bytes()


def _quoted(name: str) -> str:
    """A name in SQL; ours are letters and digits, and this does not rely on it."""
    return '"' + name.replace('"', '""') + '"'


def _held(value: Any) -> Any:
    """A value that Parquet can hold: half a character, as in file names, is spelled out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
