"""`ablate report` in every format, of several studies, and the paragraphs on methods."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablate import Study
from ablate.errors import AblateError
from tests.helpers.cli_process import STUDY, Cli

LIMIT = ("--limit", "40")


@pytest.fixture
def two(store: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Path:
    """A folder with a trained study, and another file with the same trials and another margin."""
    monkeypatch.chdir(store)
    (store / "wide.toml").write_text(f"{STUDY}\n[protocol]\nmargin = 2.0\n")
    return store


def test_each_ending_is_its_format(two: Path, cli: Cli) -> None:
    begins = {
        "r.md": b"### study on digits",
        "r.tex": b"% needs \\usepackage{booktabs}",
        "r.csv": b"study,ablation,dataset",
        "r.json": b'{\n  "schema_version": 1',
        "r.parquet": b"PAR1",
        "r.txt": b"digits  ",
    }
    for name, start in begins.items():
        done = cli("report", "study", "-o", name)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert Path(name).read_bytes().startswith(start)
    for kind, name in (("latex", "r.tex"), ("markdown", "r.md"), ("csv", "r.csv")):
        assert cli("report", "study", "--format", kind).stdout == Path(name).read_text("utf-8")


def test_parquet_needs_a_file(two: Path, cli: Cli) -> None:
    done = cli("report", "study", "--format", "parquet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: parquet is not text: it needs a file",
        "  -o report.parquet",
    ]


def test_several_studies_stand_in_one_report(two: Path, cli: Cli) -> None:
    done = cli("report", "study.toml", "wide.toml", *LIMIT)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("study · resnet8 · 1 epoch")
    assert any(line.startswith("wide · resnet8") for line in lines)
    assert "! margins differ: ±0.5 points in study, ±2 points in wide" in lines
    document = json.loads(cli("report", "study.toml", "wide.toml", *LIMIT, "--json").stdout)
    assert [table["study"] for table in document["tables"]] == ["study", "wide"]
    assert document["notes"][0].startswith("margins differ")
    done = cli("report", "study.toml", "wide.toml", *LIMIT, "-o", "r.csv")
    assert "warning: margins differ" in done.stderr
    text = cli("report", "study.toml", "wide.toml", *LIMIT, "--format", "markdown").stdout
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## study", "## wide"]


def test_options_are_for_each_study(two: Path, cli: Cli) -> None:
    done = cli("report", "study.toml", "wide.toml", *LIMIT, "--seeds", "1", "--json")
    assert [table["seeds"] for table in json.loads(done.stdout)["tables"]] == [[0], [0]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("study", "study"), "error: study is named twice"),
        (("study.toml", "study", *LIMIT), "error: study.toml and study are both the study study"),
        (("study", "nothere"), "error: no study 'nothere' in "),
        (("study", "nothere.toml"), "nothere.toml"),
        (("study", "--methods", "--format", "csv"), "error: the methods are prose, not csv"),
    ],
)
def test_refusals_are_one_line(two: Path, cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli("report", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) <= 2


def test_methods(two: Path, cli: Cli) -> None:
    text = cli("report", "study", "--methods").stdout
    assert text.startswith("The tricks warmup and mixup were added to a baseline")
    assert "(40 test images)" in text
    assert cli("report", "study", "--methods", "-o", "m.tex").returncode == 0
    assert "-{}-limit 40." in Path("m.tex").read_text("utf-8")


def test_from_python(two: Path, cli: Cli) -> None:
    results = Study.load("study.toml", limit=40).results()
    # the command of each report stands in its first line
    assert (
        results.to_latex().splitlines()[3:]
        == (cli("report", "study.toml", *LIMIT, "--format", "latex").stdout.splitlines()[3:])
    )
    results.to_parquet("p.parquet")
    assert Path("p.parquet").read_bytes()[:4] == b"PAR1"
    assert results.methods().startswith("The tricks warmup and mixup")
    assert "-{}-limit 40." in results.methods("latex")
    with pytest.raises(AblateError, match="cannot write"):
        results.to_parquet("no/such/folder/p.parquet")
