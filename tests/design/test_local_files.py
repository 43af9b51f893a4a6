"""Parameters that are files: the key has the content, the worker the path."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ablate import LocalFile, Trick
from ablate.cli.main import main
from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.design import resolve
from ablate.errors import AblateError, StudyError
from ablate.study import load_study
from ablate.tricks.construct import construct

SHIFT = '''\
"""Shift the logits by what a file says."""

from pathlib import Path
from ablate import LocalFile, Trick, hookimpl

class Shift(Trick):
    file: LocalFile
    spare: LocalFile | None = None

    @hookimpl(wrapper=True)
    def compute_loss(self, logits, targets):
        return (yield) + float(Path(self.file).read_text())
'''

IMPORT = "from ablate.errors import AblateError\n"

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["shift"]
plugins  = ["./shift.py"]

[recipe]
model = "resnet8"

[tricks]
shift = { file = "sub/number.txt" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shift.py").write_text(SHIFT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "number.txt").write_text("1.0")
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def resolved(file: Path, *overrides: str) -> ResolvedStudy:
    return resolve(load_study(file, overrides=overrides), data_root=None, command="ablate plan")


def shifted(file: Path, *overrides: str) -> Trial:
    """The trial of the study's second row."""
    study = resolved(file, *overrides)
    return study.trials[study.tables[0].rows[1].keys[0]]


def test_the_key_has_the_content_and_the_trial_the_path(folder: Path) -> None:
    trial = shifted(folder / "study.toml")
    content = hashlib.sha256(b"1.0").hexdigest()
    assert trial.tricks[0].params == {"file": f"sha256:{content}"}
    assert trial.tricks[0].files == {"file": str(folder / "sub/number.txt")}
    assert str(folder) not in str(trial.identity())
    (made,) = construct(trial.tricks)
    assert made.file == str(folder / "sub/number.txt")  # type: ignore[attr-defined]
    # as a worker has it, from JSON
    assert Trial.model_validate(trial.model_dump(mode="json")) == trial


def test_a_moved_file_is_the_same_trial_and_a_changed_one_another(folder: Path) -> None:
    before = shifted(folder / "study.toml").key
    (folder / "sub" / "number.txt").rename(folder / "elsewhere.txt")
    moved = shifted(folder / "study.toml", f"tricks.shift.file={folder / 'elsewhere.txt'}")
    assert moved.key == before
    (folder / "elsewhere.txt").write_text("1.00")
    changed = shifted(folder / "study.toml", f"tricks.shift.file={folder / 'elsewhere.txt'}")
    assert changed.key != before


def test_a_path_is_relative_to_the_file_that_says_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = folder / "study.toml"
    (folder / "sub" / "number.txt").rename(folder / "sub" / "two.txt")
    child = folder / "sub" / "child.toml"
    (folder / "number.txt").write_text("3.0")
    study.write_text(STUDY.replace("sub/number.txt", "number.txt"))
    child.write_text('extends = "../study.toml"\n')
    monkeypatch.chdir(folder)  # which makes the extended file one that may be
    assert shifted(child).tricks[0].files["file"] == str(folder / "number.txt")
    child.write_text('extends = "../study.toml"\n[tricks]\nshift.file = "two.txt"\n')
    assert shifted(child).tricks[0].files["file"] == str(folder / "sub/two.txt")
    child.write_text(
        'extends = "../study.toml"\n[[override]]\nwhen = { trick = "shift" }\n'
        'tricks.shift.file = "two.txt"\n'
    )
    assert shifted(child).tricks[0].files["file"] == str(folder / "sub/two.txt")
    said = shifted(child, "tricks.shift.file=number.txt")
    assert said.tricks[0].files["file"] == str(folder / "number.txt")


def test_a_parameter_that_may_be_a_file_is_in_the_key_only_if_it_is(folder: Path) -> None:
    without = shifted(folder / "study.toml")
    assert "spare" not in without.tricks[0].params
    spare = f"tricks.shift.spare={folder / 'sub/number.txt'}"
    both = shifted(folder / "study.toml", spare)
    assert both.tricks[0].params["spare"] == both.tricks[0].params["file"]
    assert both.key != without.key


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.txt", "there is no file {folder}/nowhere.txt"),
        ("sub", "{folder}/sub is not a file"),
        ("sub/number.txt/x", "{folder}/sub/number.txt/x cannot be read: Not a directory"),
        ("@big", '"@big" is a trial of the study; a file is expected here'),
        (" ", "expected the name of a file"),
        ("a" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_file_is_one_line_at_its_place(folder: Path, value: str, message: str) -> None:
    (folder / "study.toml").write_text(STUDY.replace("sub/number.txt", value))
    with pytest.raises(StudyError) as caught:
        resolved(folder / "study.toml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (11, "tricks.shift.file")
    assert message.format(folder=folder) in problem.message
    assert "\n" not in problem.message


def test_a_file_that_changed_after_planning_is_refused(folder: Path) -> None:
    trial = shifted(folder / "study.toml")
    (folder / "sub" / "number.txt").write_text("22")
    with pytest.raises(AblateError, match=r"number\.txt changed since the study was planned"):
        construct(trial.tricks)
    (folder / "sub" / "number.txt").unlink()
    with pytest.raises(AblateError, match="there is no file"):
        construct(trial.tricks)


def test_plan_shows_a_files_name(folder: Path) -> None:
    study = resolved(folder / "study.toml")
    assert study.tables[0].rows[1].changes == "shift: file number.txt, spare None"


def test_a_file_inside_a_list_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Many\.files: a file is LocalFile or LocalFile \| None"):

        class Many(Trick):
            files: tuple[LocalFile, ...]


def test_what_a_preflight_refuses_is_one_line_before_anything_is_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for raised, told, hint in (
        ('AblateError("no number", hint="write one")', "no number", "write one"),
        ('KeyError("x")', "trick 'shift', preflight: KeyError: 'x'", ""),
    ):
        method = f"    def preflight(self, trial):\n        raise {raised}\n"
        text = SHIFT.replace("    @hookimpl", f"{method}\n    @hookimpl")
        (folder / "shift.py").write_text(text.replace("import Path\n", f"import Path\n{IMPORT}"))
        for command in ("plan", "run"):
            capfd.readouterr()
            assert main([command, "study.toml", "--limit", "100", "--store", "store"]) == 2
            lines = capfd.readouterr().err.splitlines()
            [line] = [line for line in lines if f"digits · + shift · seed 0: {told}" in line]
            assert line.startswith("study.toml: study: ")
            assert not hint or hint in lines[-1]
    assert not list((folder / "store").glob("trials/*/2*"))
