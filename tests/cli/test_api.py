"""Python: the same results as the command line's, from a script without a main guard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ablate import Results, Study
from ablate.errors import AblateError, StudyError
from tests.helpers import forked
from tests.helpers.environment import environment

SCRIPT = """
from ablate import Study
results = Study.load("study.toml", seeds=1, limit=40).run(quiet=True)
print(results.to_markdown())
print(results)
"""


def test_results_of_what_the_command_line_trained(
    store: Path, trained: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store)
    study = Study.load("study.toml", limit=40)
    results = study.results()
    assert str(results) == trained[1]
    assert isinstance(results, Results)
    rows = results.rows()
    assert [row["row"] for row in rows] == ["baseline", "+ warmup", "+ mixup"]
    for row in rows:
        assert row["n"] == 2
        assert row["mean"] == pytest.approx(sum(row["values"]) / 2)
    assert rows[2]["delta"] == pytest.approx(rows[2]["mean"] - rows[1]["mean"])
    assert results.to_markdown().startswith("### study on digits")
    assert results.to_html().startswith("<!DOCTYPE html>")
    shown = results._repr_html_()
    assert shown.startswith('<div class="ablate notebook">')
    assert [name for name in ("verdict", "effects", "numbers") if f'{name}"' in shown] == [
        *("verdict", "effects", "numbers")
    ]
    assert 'curves"' not in shown
    assert study.run(quiet=True).rows() == rows  # nothing left to train


def test_a_script_without_a_main_guard_trains(tmp_path: Path, trained: object) -> None:
    from tests.helpers.cli_process import STUDY

    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = forked.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, encoding="utf-8", real_workers=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("### study on digits")
    assert "One seed: no interval and no verdict." in done.stdout


def test_every_problem_is_in_the_exception(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[study]\ndatasets = ["digits"]\nstack = ["mixupp"]\n')
    with pytest.raises(StudyError) as caught:
        Study.load(tmp_path / "s.toml")
    keys = [problem.key for problem in caught.value.problems]
    assert "study.stack[0]" in keys
    assert "recipe.model" in " ".join(keys)


def test_results_before_any_training_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers.cli_process import STUDY

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_STORE", raising=False)
    (tmp_path / "s.toml").write_text(STUDY)
    with pytest.raises(AblateError, match="no store at ablate-results"):
        Study.load("s.toml").results()
