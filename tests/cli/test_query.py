"""`ablate query`: what is printed where, in every format, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from ablate.report.model import Block, BlockCell, BlockLine
from ablate.session.judged_tables import tables_of
from ablate.session.lookup import from_store
from ablate.sql.effects import COLUMNS, _of_table, effects
from ablate.store.store import Store
from tests.helpers.cli_process import ABLATE, Cli, run_cli
from tests.helpers.environment import environment
from tests.helpers.forked import Forked
from tests.helpers.pty_process import on_terminal
from tests.helpers.small_stores import make_study, new_store, train

TOP = "select label, top1 from trials order by top1 desc, label limit 2"
HINT = '  views: trials, epochs, predictions, effects · columns: ablate query "describe trials"\n'


@pytest.fixture
def here(store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained folder, to stand in."""
    monkeypatch.chdir(store)
    return store


def asked(cli: Cli, sql: str) -> list[dict[str, Any]]:
    done = cli("query", sql, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]  # type: ignore[no-any-return]


def test_a_table_on_stdout_and_a_line_on_stderr(here: Path, cli: Cli) -> None:
    finals = [json.loads(p.read_text()) for p in here.glob("ablate-results/trials/*/*/done.json")]
    values = sorted((end["final"]["top1"] for end in finals), reverse=True)[:2]
    done = cli("query", TOP)
    assert done.returncode == 0
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["label", "top1"]
    assert [float(line.split()[-1]) for line in lines] == values
    assert {len(line) for line in [head, *lines]} == {len(head)}  # numbers stand at the right
    assert re.fullmatch(r"2 rows in \d+\.\d\d s \(--format csv\)\n", done.stderr)
    assert cli("query", TOP, "-q").stderr == ""
    assert cli("query", TOP, "-qq").stdout == ""


def test_effects_are_the_numbers_of_the_report(here: Path, cli: Cli) -> None:
    found = asked(cli, "select * from effects")
    assert list(found[0]) == list(COLUMNS)
    (table,) = json.loads(cli("report", "--json").stdout)["tables"]
    assert (found[0]["role"], found[0]["delta"]) == ("baseline", None)
    primary = [row for row in found if row["against"] == "above" or row["role"] == "total"]
    assert [row["label"] for row in primary] == [
        *(row["row"] for row in table["rows"][1:]),
        table["total"]["row"],
    ]
    for row, reported in zip(primary[:-1], table["rows"][1:], strict=True):
        for name in ("delta", "se", "low", "high", "p", "p_holm", "p_equivalence", "df"):
            assert row[name] == reported["delta"][name], name
        for name in ("n", "mean", "sd", "verdict", "parameters", "macs"):
            assert row[name] == reported[name], name
        assert row["label"] == f"+ {row['trick']}"
    assert primary[-1]["verdict"] == table["total"]["verdict"]
    # By hand, from the trials alone.
    values = {
        label: mean(100 * row["top1"] for row in asked(cli, "from trials") if label in row["label"])
        for label in ("baseline", "+ warmup", "+ mixup")
    }
    by_label = {row["label"]: row for row in primary}
    for label, other in (("+ warmup", "baseline"), ("+ mixup", "+ warmup")):
        assert by_label[label]["delta"] == pytest.approx(values[label] - values[other])
        assert by_label[label]["reference"] == other
    unadjusted = [row for row in found if row["label"] == "+ mixup" and row["verdict"] is None]
    assert [row["delta"] for row in unadjusted] == [
        pytest.approx(values["+ mixup"] - values["baseline"])
    ]


def test_blocks_are_effects_too(here: Path) -> None:
    store = Store.open(here / "ablate-results", create=False)
    (table,) = tables_of(from_store("study", store).resolved, store)
    cells = (BlockCell(0.02, 0.01, 0.03), BlockCell(-0.01), None)
    lines = (BlockLine("mixup", cells, verdict="gain", word="less together"),)
    block = Block("attribution", "Attribution", ("alone", "left out", "gap"), lines, judged=0)
    values = replace(block, name="classes", signed=False, judged=None, lines=lines)
    found = list(_of_table(replace(table, blocks=(block, values))))
    first, second, third, _ = found[-4:]
    assert (first["role"], first["quantity"], first["trick"]) == (
        *("block:attribution", "alone", "mixup"),
    )
    assert (first["delta"], first["low"], first["high"]) == (2.0, 1.0, 3.0)  # points
    assert (first["verdict"], second["verdict"], first["note"]) == ("gain", None, "less together")
    assert (second["delta"], second["quantity"]) == (-1.0, "left out")
    assert (third["mean"], "delta" in third) == (2.0, False)


def test_no_effect_is_claimed_of_a_reference_that_diverged(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = new_store(tmp_path / "ablate-results")
    values = {
        "baseline": [0.70, None, None],
        "warmup": [0.751, 0.749, 0.75],
        "mixup": [0.80, 0.799, 0.801],
    }
    resolved = make_study(store, values)
    for key in resolved.tables[0].rows[0].keys[1:]:
        train(store, resolved.trials[key], 0.1, status="diverged")
    found = asked(cli, "select role, label, verdict from effects where verdict is not null")
    assert [(row["role"], row["label"], row["verdict"]) for row in found] == [
        ("baseline", "baseline", "diverged (2 of 3)"),
        ("step", "+ warmup", "reference diverged (2 of 3)"),
        ("step", "+ mixup", "gain"),
        ("total", "all 2 tricks", "reference diverged (2 of 3)"),
    ]


def test_a_study_that_cannot_be_read_does_not_take_the_others_down(here: Path, cli: Cli) -> None:
    (saved,) = here.glob("ablate-results/studies/study/*.json")
    for name, text in (("newer", '{"format": 99}'), ("broken", "{"), ("odd", None)):
        folder = here / "ablate-results" / "studies" / name
        folder.mkdir()
        document = json.loads(saved.read_text())
        document["tables"][0]["rows"][1]["above"] = 77
        (folder / saved.name).write_text(text or json.dumps(document | {"name": name}))
    done = cli("query", "select distinct study from effects")
    assert done.stdout == "study\nstudy\n"
    assert done.returncode == 0
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: effects")]
    assert sorted(line.split()[5].strip(":,") for line in warned) == ["broken", "newer", "odd"]


def test_nothing_slow_is_imported_without_effects(here: Path) -> None:
    code = "import sys; from ablate.cli.main import main; main(['query', 'from trials', '-qq'])\n"
    code += "print('scipy' in sys.modules, 'torch' in sys.modules, 'duckdb' in sys.modules)"
    command = [ABLATE[0], "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.stdout == "False False True\n", done.stderr


def test_every_format_has_every_row_and_every_character(here: Path, cli: Cli) -> None:
    sql = "select i, chr(27) || '|,' || chr(8238) as odd, null as nothing, 0.1 + 0.2::double as f, \
        timestamp '2026-01-02 03:04:05' as t from range(200) r(i)"
    rows = list(csv.DictReader(io.StringIO(cli("query", sql, "--format", "csv").stdout)))
    assert [row["i"] for row in rows] == [str(i) for i in range(200)]
    assert rows[0]["odd"] == "\\u001b|,\\u202e"
    assert (rows[0]["nothing"], rows[0]["t"]) == ("", "2026-01-02T03:04:05Z")
    document = json.loads(cli("query", sql, "--format", "json").stdout)
    assert document["schema_version"] == 1
    assert document["columns"][0] == {"name": "i", "type": "BIGINT"}
    assert len(document["rows"]) == 200
    assert document["rows"][7] == {
        "i": 7, "odd": "\x1b|,\u202e", "nothing": None, "f": 0.1 + 0.2, "t": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    lines = cli("query", sql, "--format", "markdown").stdout.splitlines()
    assert lines[1].startswith("| --: | :-- |")
    assert len(lines) == 202
    assert "\\\\u001b\\|,\\\\u202e" in lines[2]  # rendered as in the other formats
    shown = cli("query", sql).stdout.splitlines()
    assert "\\u001b|,\\u202e" in shown[1]
    assert " NULL " in shown[1]
    assert len(shown) == 201  # no terminal: nothing is left out


def test_rows_wider_than_the_terminal_become_blocks(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "select 1 as a, 'x' as much_longer, repeat('y', 60) as wide from range(2)"
    assert len(cli("query", sql).stdout.splitlines()) == 3
    monkeypatch.setenv("COLUMNS", "70")
    block = ["a            1", "much_longer  x", f"wide         {'y' * 60}"]
    assert cli("query", sql).stdout.splitlines() == [*block, "", *block]


def test_a_terminal_gets_a_hundred_rows_and_the_number_of_all(here: Path) -> None:
    text, code = on_terminal("query", "from range(4321)", cwd=here)
    assert code == 0
    shown = [line.strip() for line in text.splitlines()]
    assert shown[:101] == ["range", *map(str, range(100))]
    assert re.fullmatch(
        r"warning: 100 of 4,321 rows, in \d+\.\d\d s; --format csv has all", shown[101]
    )


def test_sql_from_standard_input_and_no_sql_at_all(here: Path, cli: Cli) -> None:
    done = subprocess.run(
        [*ABLATE, "query", "-"], input=TOP, capture_output=True, text=True, env=environment(),
        cwd=here,
    )  # fmt: skip
    assert done.stdout == cli("query", TOP).stdout
    listed = cli("query")
    assert listed.returncode == 0
    assert re.findall(r"^(\w+)   ", listed.stdout, re.MULTILINE) == [
        *("trials", "epochs", "predictions", "effects"),
    ]
    examples = re.findall(r'^ablate query "(.*?)"', listed.stdout, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        assert cli("query", example).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["select * from trial"], "error: query: no view 'trial'; did you mean 'trials'?\n" + HINT),
        (["from attempts"], "error: query: no view 'attempts'; known: trials, epochs, predictions, "
         "effects\n" + HINT),
        (["select datset from trials"], "error: query: no column 'datset'; did you mean 'dataset'?"
         '\n  columns: ablate query "describe trials"\n'),
        (["select e.vale from epochs e"], "error: query: no column 'vale'; did you mean 'value'?"
         '\n  columns: ablate query "describe epochs"\n'),
        (['from trials where status = "done"'], "error: query: no column 'done'; text stands in "
         "'single quotes'\n  columns: ablate query \"describe trials\"\n"),
        (["selec 1"], "error: query: syntax error at or near \"selec\"\n"
         "  views: trials, epochs, predictions, effects · columns: "
         "ablate query \"describe trials\"\n"),
        (["select 1; select 2"], "error: query: one statement at a time; these are 2\n"),
        (["delete from trials"], "error: query: DELETE is not allowed; a query only reads\n"
         "  SELECT, FROM, WITH, DESCRIBE, SHOW and SUMMARIZE are\n"),
        (["select 1", "--format", "xml"],
         "error: --format 'xml'; known: terminal, csv, json, markdown\n"),
        (["select 1", "--timeout", "-1"],
         "error: --timeout -1: expected seconds, above 0\n  --timeout 60\n"),
        (["select 1", "--timeout", "nan"],
         "error: --timeout nan: expected seconds, above 0\n  --timeout 60\n"),
        (["from range(1000000000000) select sum(range)", "--timeout", "0.2"],
         "error: query: stopped after 0.2 s\n"
         "  ask for less (where, limit), or for longer: --timeout SECONDS\n"),
        (["from trials", "--store", "nowhere"],
         "error: no store at nowhere\n  ablate run makes it, or --store DIR\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(
    here: Path, cli: Cli, arguments: list[str], message: str
) -> None:
    done = cli("query", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.parametrize(
    "sql",
    ["select len(repeat('x', 4000000000))", "select len(list_sort(range(120000000)))"],
)
def test_one_enormous_value_ends_in_time_and_memory(here: Path, sql: str) -> None:
    """Such a function hears no interrupt, and DuckDB does not count its memory."""
    began = time.monotonic()
    done = run_cli("query", sql, "--timeout", "1", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"error: query: (stopped after 1 s|needs more than 2 GB)", done.stderr)
    assert time.monotonic() - began < 60


INTERRUPTIBLE = """
import signal, sys
from ablate.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests ignores it?
open("ready", "w").close()
sys.exit(main())
"""


def test_ctrl_c_ends_it_and_nothing_is_drawn(here: Path) -> None:
    sql = "select count(*) from range(1000000000000)"
    with Forked(
        [ABLATE[0], "-c", INTERRUPTIBLE, "query", sql], cwd=here, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        while not (here / "ready").exists():  # imports take long on a busy machine
            assert child.poll() is None
            time.sleep(0.05)
        time.sleep(3.5)  # DuckDB draws its progress after two seconds
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60) == ("", "")
        assert child.returncode == 130


def test_effects_of_a_store_without_studies_are_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s", create=True)
    assert effects(store, pytest.fail) == []


def test_csv_has_no_formula_and_numbers_stay_numbers(tmp_path: Path, cli: Cli) -> None:
    make_study(new_store(tmp_path / "ablate-results"), {"baseline": [0.5], "mixup": [0.6]})
    sql = """
    select '=1+1' as "@a", '+ mixup' as b, -1.5 as c, -2 as d, (-0.25)::decimal(4, 2) as e,
      '-x' as f, 'a - b' as g, ['=1'] as h, true as i, null as j"""
    done = cli("query", sql, "--format", "csv")
    head, line = csv.reader(io.StringIO(done.stdout))
    assert head == ["'@a", *"bcdefghij"]
    assert line[:2] == ["'=1+1", "'+ mixup"]
    assert [float(cell) for cell in line[2:5]] == [-1.5, -2, -0.25]
    assert line[5:] == ["'-x", "a - b", "[=1]", "true", ""]
