"""Parquet: read back by pyarrow, which did not write it, and by DuckDB."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from ablate.errors import AblateError
from ablate.report import build_tables, render, render_csv, render_parquet
from ablate.report.formats import check_format, content, format_of
from tests.helpers.compared_studies import table4
from tests.helpers.reference_tables import nette, woof
from tests.helpers.report_blocks import ALL, below
from tests.helpers.report_studies import cumulative, results, study, table

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, of the extra 'test'")


def read(tables):
    return parquet.read_table(io.BytesIO(render_parquet(tables)))


@pytest.mark.parametrize(
    "make",
    [nette, lambda: nette() + woof(), lambda: below(nette(), *ALL), table4],
    ids=["one", "two", "blocks", "paper"],
)
def test_it_is_the_csv_with_types(make):
    tables = make()
    found = read(tables)
    lines = list(csv.DictReader(io.StringIO(render_csv(tables))))
    assert found.column_names == list(lines[0])
    assert found.num_rows == len(lines)
    for name in found.column_names:
        kind = str(found.schema.field(name).type)
        for text, value in zip(
            (line[name] for line in lines), found[name].to_pylist(), strict=True
        ):
            if value is None:
                assert text == ""
            elif kind == "string":
                assert text == (f"'{value}" if value.startswith("+ ") else value)
            elif kind == "bool":
                assert str(value) == text
            else:
                assert kind in ("double", "int64")
                assert float(text) == value


def test_numbers_are_numbers_even_in_an_empty_column():
    schema = read(nette()).schema
    for name in ("mean", "delta", "delta_p_holm", "epoch_seconds", "seed_2", "delta_band"):
        assert str(schema.field(name).type) == "double"
    for name in ("n", "parameters", "macs", "delta_shared_seeds"):
        assert str(schema.field(name).type) == "int64"


def test_duckdb_reads_it(tmp_path):
    import duckdb

    file = tmp_path / "report.parquet"
    file.write_bytes(render_parquet(nette()))
    with duckdb.connect() as base:
        found = base.execute(
            "SELECT row, mean FROM read_parquet(?) WHERE verdict = 'gain' AND role = 'step'",
            [str(file)],
        ).fetchall()
    assert found == [("+ zero_gamma", pytest.approx(91.62))]


def test_names_stay_what_they_are_and_nan_is_null():
    name = "a'b\"c;DROP TABLE report--\u202e\x1b混\ud800"
    rows = cumulative(name)
    values = {"baseline": (70.0, math.nan), rows[1][0]: (72.0, 73.5)}
    found = read(build_tables(study(table(rows, 2)), results(values), {}))
    assert found["row"].to_pylist()[1] == f"+ {name[:-1]}\\ud800"  # half a character is no text
    assert found["seed_1"].to_pylist()[0] is None


def test_it_is_for_files_only():
    from pathlib import Path

    assert format_of(Path("x.parquet")) == "parquet"
    check_format("parquet")
    with pytest.raises(AblateError, match="needs a file"):
        check_format("parquet", file=False)
    with pytest.raises(AblateError, match="unknown format"):
        render("parquet", nette())
    assert content("parquet", nette())[:4] == b"PAR1"
    assert content("csv", nette()) == render_csv(nette())


def test_an_ending_that_is_no_formats_is_refused() -> None:
    assert format_of(Path("x.TXT")) == format_of(Path("x")) == "terminal"
    with pytest.raises(AblateError, match=r"no format is written to '\.latex'") as refused:
        format_of(Path("x.latex"))
    assert ".tex" in str(refused.value.hint)
