"""What is a file is UTF-8 wherever it goes but a terminal, whatever the locale says."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

from tests.helpers.cli_process import ABLATE
from tests.helpers.environment import environment
from tests.helpers.pty_process import on_terminal
from tests.helpers.small_stores import make_study, new_store

NAME = "caf\u00e9 \u5b66\u7fd2"  # of which cp1252 has the first word
CP1252 = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = make_study(new_store(tmp_path / "ablate-results"), {"baseline": [0.9], NAME: [0.8]})
    assert made.tables
    return tmp_path


def output(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        [*ABLATE, *arguments], cwd=folder, env=environment(**CP1252), input=stdin,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"\r" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("name", ["markdown", "csv", "html"])
def test_a_report_is_utf_8(store: Path, name: str) -> None:
    piped = output(store, "report", "group", "--format", name)
    text = piped.decode()  # strictly
    assert NAME in text
    assert "\\u" not in text
    if name == "markdown":
        assert "\u221210.0" in text  # a minus, which cp1252 lacks
    assert output(store, "report", "group", "--format", name, "-o", "file") == b""
    assert (store / "file").read_bytes() == piped


def test_a_table_for_people_is_in_characters_that_they_have(store: Path) -> None:
    text = output(store, "report", "group").decode("ascii")
    assert "-10.0" in text


def test_a_terminal_keeps_its_escapes(store: Path) -> None:
    env = {"PYTHONIOENCODING": "ascii"}
    shown, code = on_terminal(
        *("report", "group", "--format", "markdown"), cwd=store, env=env, fresh=True
    )
    assert code == 0
    assert "\\u221210.0" in shown


def test_a_query_is_utf_8_and_so_is_its_sql(store: Path) -> None:
    sql = f"select '\u2212' as minus, label from trials where label like '%{NAME}%'"
    for mark in (b"", b"\xef\xbb\xbf"):  # some editors begin a file with it
        text = output(store, "query", "-", "--format", "csv", stdin=mark + sql.encode()).decode()
        assert list(csv.reader(text.splitlines()))[1] == ["\u2212", f"digits · + {NAME} · seed 0"]
    text = output(store, "query", "-", "--format", "markdown", stdin=sql.encode()).decode()
    assert f"| \u2212 | digits · + {NAME} · seed 0 |" in text


def test_a_schema_is_utf_8(tmp_path: Path) -> None:
    piped = output(tmp_path, "schema", "--no-plugins")
    assert any(ord(char) > 0xFF for char in piped.decode())
    assert json.loads(piped)
    output(tmp_path, "schema", "--no-plugins", "-o", "schema.json")
    assert (tmp_path / "schema.json").read_bytes() == piped


def test_a_path_is_what_the_system_has(store: Path) -> None:
    moved = store / "\u5b66"
    moved.mkdir()
    (store / "ablate-results").rename(moved / "results")
    place = ("--store", "\u5b66/results")
    file = output(store, "logs", "group:0/digits/0", "--path", *place).rstrip(b"\n")
    assert file.startswith("\u5b66/results/trials/".encode())
