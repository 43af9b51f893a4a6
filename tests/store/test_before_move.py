"""A store, studies and a trick of before modules moved (commit f33719d) are what they were.

`before_move/` was written by that commit's own command line in a folder of its own: `ablate run
tricks.toml --limit 60 --device cpu`, killed by signal 9 in the teacher's second epoch, the same
again to its end, then `tuned.toml` likewise, then every report. Held here: nothing is trained
again, reports say the same, the loose trick and the own model import from where modules were, and
the trials' keys are those of then. Nothing in that folder is ever edited or made anew: old_trick.py
declares no version, so that its source is part of its trials' keys. Only `reports/` is: what is
said of the same numbers follows the rule of intervals, which is worked out here by other means.

Every seed chooses for itself now, so that tuned.toml as it stands asks for more than was trained;
with `once = true` it asks for the same.

The database is left out, which the first query makes again.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import re
import shutil
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import html5lib
import pytest

from tests.helpers.cli_process import run_here
from tests.helpers.moderated import Rule

BEFORE = Path(__file__).parent / "before_move"
STUDIES = ("tricks", "tuned")
FORMATS = {"terminal": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}
# The first 40 digits, and what the last run called it; tuned.toml shares two with tricks.toml.
KEYS = {
    "073abb3354e36b7555fd7c9621a2c6eec705d88b": "digits · @teacher · seed 0",
    "a37124563d6d42db39080c35cbdc23def908d1dc": "digits · baseline · seed 0",
    "6066b4b9a1d45be511df40a046dd8df18fbdaf60": "digits · baseline · seed 1",
    "40c8f0cef065bd6ccd91799daa6abcae7b8732a0": "digits · + distill · seed 0",
    "1820f6635c499c389a3e83f3ffe1cf252cee425f": "digits · + distill · seed 1",
    "a45d1ff7a39ed2d1ba468f2df8d5ecde63c5df11": "digits · + old_trick · seed 0",
    "f0afbdc2f189f0fd2a2a4f87f04f709639e24608": "digits · + old_trick · seed 1",
    "c5f150ac871124758bdbe6dba5eb993dd973d687": "digits · baseline · lr × 0.3 · held out",
    "598211025688a3a594b37028d0a024285f002c72": "digits · baseline · lr × 1 · held out",
    "9acc4fe26395d7cb36f4bbe7b58fd67add9921bb": "digits · cosine · lr × 0.3 · held out",
    "4726d2f4d29bc5778aa5c7a9e2bab3fd0fe4076f": "digits · cosine · lr × 1 · held out",
    "3dd62e428716bd481b2614e214732abd2fc9bec5": "digits · cosine · seed 0",
    "16b3649cea5a4e9aee42f3c132de8bab03d7be7e": "digits · cosine · seed 1",
}
LIMIT = ("--limit", "60", "--device", "cpu")
SQL = """\
select key, label, tricks, status, top1, loss, epochs, attempt, continues, teacher
from trials order by key"""
NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?:e[-+]\d+)?(?![\w.-])")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Studies, trick, model and store as they were, in a folder to work in."""
    for file in (*BEFORE.glob("*.toml"), *BEFORE.glob("*.py")):
        shutil.copy(file, tmp_path)
    with tarfile.open(BEFORE / "store.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.syspath_prepend(tmp_path)  # before_move_net, which the teacher's `model` names
    monkeypatch.delitem(sys.modules, "before_move_net", raising=False)
    return tmp_path


def printed(*arguments: str, folder: Path) -> str:
    done = run_here(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(study: str, ending: str) -> str:
    packed = BEFORE / "reports" / f"{study}.{ending}.gz"
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode()
    return packed.with_suffix("").read_bytes().decode()


def trials(folder: Path) -> dict[str, str]:
    """Every file below trials/, attempts' included, with the digest of its content."""
    root = folder / "ablate-results" / "trials"
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def parsed(page: str) -> bytes:
    tree: bytes = ElementTree.tostring(html5lib.parse(page))
    return tree


def assert_same(found: str, expected: str) -> None:
    """The same bytes, but for the last digits of numbers in full precision.

    Those of a least-squares fit are not the same on every kind of processor: OpenBLAS has other
    kernels for each. `OPENBLAS_CORETYPE=Prescott` shows it.
    """
    assert NUMBER.sub("#", found) == NUMBER.sub("#", expected)
    pairs = zip(NUMBER.findall(found), NUMBER.findall(expected), strict=True)
    wrong = [
        (ours, theirs)
        for ours, theirs in pairs
        if not math.isclose(float(ours), float(theirs), rel_tol=1e-9, abs_tol=1e-9)
    ]
    assert wrong == []


def assert_reports(folder: Path) -> None:
    for study in STUDIES:
        for name, ending in FORMATS.items():
            found = printed("report", study, "--format", name, folder=folder)
            if name in ("csv", "json"):
                assert_same(found, report(study, ending))
            else:
                assert found == report(study, ending)
        page = printed("report", study, "--format", "html", folder=folder)
        assert parsed(page) == parsed(report(study, "html"))


def test_reports_say_the_same(folder: Path) -> None:
    assert_reports(folder)


@pytest.mark.parametrize("study", STUDIES)
def test_what_they_say_is_the_rule_of_what_was_measured(study: str) -> None:
    """Of top-1 as trials.csv has it, which the ablate of before wrote."""
    with (BEFORE / "trials.csv").open(encoding="utf-8", newline="") as file:
        measured = {row["key"]: float(row["top1"]) for row in csv.DictReader(file)}
    (table,) = json.loads(report(study, "json"))["tables"]
    lines = {
        row["row"]: [measured[trial["key"]] for trial in row["trials"]] for row in table["rows"]
    }
    rule, names = Rule(lines, table["test_images"]), list(lines)
    compared = [
        (names[i], row[which])
        for i, row in enumerate(table["rows"])
        for which in ("delta", "delta_baseline")
        if row[which]
    ]
    compared += [(names[-1], table["total"]["delta"])] if table["total"] else []
    assert len(compared) == {"tricks": 5, "tuned": 2}[study]
    for name, delta in compared:
        told = rule.difference(name, names[delta["reference"]])
        wanted = [100 * told.estimate, *(100 * end for end in told.interval()), told.df, told.p]
        found = [delta[k] for k in ("delta", "low", "high", "df", "p")]
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)
        interval = "[{1:+.1f}, {2:+.1f}]".format(*wanted).replace("-", "−")
        assert interval in report(study, "txt")
        assert interval in report(study, "md")
        assert interval in report(study, "html")


def test_nothing_is_trained_again(folder: Path) -> None:
    before = trials(folder)
    keys: dict[str, str] = {}
    choose_once(folder)
    for study in STUDIES:
        file = f"{study}.toml"
        done = run_here("run", file, *LIMIT, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "nothing to train" in done.stderr
        assert done.stdout == report(study, "txt")
        *_, last, saved = sorted((folder / "ablate-results" / "studies" / study).iterdir())
        was, now = (json.loads(path.read_text("utf-8")) for path in (last, saved))
        assert now["format"] == was["format"] == 1
        # an older release reads what this one saved
        assert [t["rows"] for t in now["tables"]] == [t["rows"] for t in was["tables"]]
        keys |= now["labels"]
    assert trials(folder) == before  # no attempt more, and none touched
    assert {key[:40]: label for key, label in keys.items()} == KEYS
    assert {path.split("/")[0] for path in before} == set(keys)
    assert_reports(folder)


def test_the_choices_of_seed_0_are_those_that_were_made(folder: Path) -> None:
    before = trials(folder)
    plan = printed("plan", "tuned.toml", *LIMIT, folder=folder)
    # of seed 1 four trials to choose by, and two to be trained once it has chosen
    assert "12 trials: ● 6 done, ○ 6 new" in plan
    done = run_here("run", "tuned.toml", *LIMIT, cwd=folder)
    assert done.returncode == 0, done.stderr
    more = {path.split("/")[0] for path in trials(folder)} - {p.split("/")[0] for p in before}
    saved = max((folder / "ablate-results" / "studies" / "tuned").iterdir())
    document = json.loads(saved.read_text("utf-8"))
    # trained were those of seed 1 alone, on the second tenth, and no trial of before was touched
    assert {document["trials"][key]["seed"] for key in more} == {1}
    tried = [
        document["trials"][key]["dataset"] for key in more if "held" in document["labels"][key]
    ]
    assert [data.get("fold") for data in tried] == [1] * 4
    assert before.items() <= trials(folder).items()
    assert document["format"] == 2  # an older release refuses it in one line
    for row in document["tables"][0]["rows"]:
        labels = [document["labels"][key].split(" · ")[2] for key in row["tuning"][0]]
        assert {key[:40] for key in row["tuning"][0]} < set(KEYS)
        assert labels == ["lr × 0.3", "lr × 1"]
        assert row["chosen"][0] == 1


def choose_once(folder: Path) -> None:
    """tuned.toml as its rows chose when it was trained."""
    file = folder / "tuned.toml"
    text = file.read_text("utf-8")
    assert text.count("{ lr.factor") == 1
    file.write_text(text.replace("{ lr.factor", "{ once = true, lr.factor"), "utf-8")


def test_the_killed_trial_counts_with_both_attempts(folder: Path) -> None:
    answer = printed("query", SQL, "--format", "csv", folder=folder)
    assert answer == (BEFORE / "trials.csv").read_text("utf-8")
    [teacher] = [row for row in csv.DictReader(answer.splitlines()) if row["continues"]]
    assert "@teacher" in teacher["label"]
    first = printed("logs", teacher["key"], "--attempt", "1", folder=folder)
    last = printed("logs", teacher["key"], folder=folder)
    assert "epoch 1" in first
    assert "epoch 2" not in first
    assert f"continues attempt {teacher['continues']} after epoch 1" in last


def test_the_loose_trick_imports_from_where_modules_were(folder: Path) -> None:
    assert "ok (1 dataset" in printed("check", "tricks.toml", folder=folder)
    assert "of the entropy" in printed("tricks", "show", "./old_trick.py", folder=folder)
    plan = printed("plan", "tricks.toml", "--limit", "60", "--device", "cpu", folder=folder)
    assert "7 trials: ● 7 done, ○ 0 new" in plan
    document = json.loads(printed("report", "tricks", "--format", "json", folder=folder))
    [row] = [row for row in document["tables"][0]["rows"] if "old_trick" in row["tricks"]]
    assert row["n"] == 2
