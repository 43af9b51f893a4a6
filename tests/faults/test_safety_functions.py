"""Functions that a study names as data set or model: who calls them, and who never does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ablate import AblateError
from ablate import Study as StudyFile
from tests.helpers import forked
from tests.helpers.cli_process import ABLATE
from tests.helpers.environment import environment

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

STUDY = """\
[study]
datasets = [{data}]
seeds    = 1
stack    = ["label_smoothing"]

[recipe]
model      = "{model}"
epochs     = 1
batch_size = 10
image_size = 8
"""
# A stranger's module: a marker when it is imported, one more for each call.
HOSTILE = """\
import os
MARKS = {marks!r}

def mark(name):
    open(os.path.join(MARKS, name), "a").close()

mark("imported")

def data(*arguments, **settings):
    mark("data set called")
    import numpy as np
    from ablate import ImageArrays

    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    return ImageArrays(images, [0, 1] * 20, images, [0, 1] * 20, ("a", "b"), 8)

def model(num_classes):
    mark("model called")
    from torch import nn

    layers = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    return nn.Sequential(*layers)
"""
TRICK = """\
from hostile import mark
from ablate import Trick, hookimpl

mark("trick imported")

class Quiet(Trick):
    '''Quiet.'''

    @hookimpl(wrapper=True)
    def encode_targets(self, num_classes):
        targets = yield
        return targets * 0.5 + 0.5 / num_classes
"""
DIGITS, OWN = ('"digits"', "resnet8"), ('"hostile:data"', "hostile:model")
REFUSED = "is refused by --no-plugins"
DISTILL = '"label_smoothing", "distill"]\n'
# Ways to name something of a stranger's in a study: what is replaced, by what, and more lines.
WAYS: dict[str, tuple[str, str, str]] = {
    "data set": ('"digits"', '"hostile:data"', ""),
    "data set beside another": ('"digits"', '"digits", "hostile:data"', ""),
    "data set in a package": ('"digits"', '"package.inner:data"', ""),
    "data set by a dunder": ('"digits"', '"hostile:__class__"', ""),
    "model": ('"resnet8"', '"hostile:model"', ""),
    "model in a package": ('"resnet8"', '"package.inner:model"', ""),
    "model, own letters": ('"resnet8"', '"hostilé:model"', ""),
    "model of a branch": (
        "", "", '[[ablation]]\nname = "b"\nover = [{ model = "hostile:model" }]\n',
    ),
    "models of columns": (
        "", "", '[[ablation]]\nname = "b"\nover.model = ["resnet8", "hostile:model"]\n',
    ),
    "model of a rule": ("", "", '[[override]]\nwhen = {}\nset.model = "hostile:model"\n'),
    "model of a rule for a trick": (
        "", "", '[[override]]\nwhen = { trick = "label_smoothing" }\nset.model = "hostile:model"\n',
    ),
    "model of a trick's side": (
        "", "", '[tricks]\nlabel_smoothing = { set = { model = "hostile:model" } }\n',
    ),
    "model of a teacher": (
        '"label_smoothing"]\n', DISTILL,
        '[tricks]\ndistill = { teacher = "@big" }\n[trial.big]\nset.model = "hostile:model"\n',
    ),
    "teacher from a file": (
        '"label_smoothing"]\n', DISTILL,
        '[tricks]\ndistill = { teacher = "hostile:model", weights = "weights.pt" }\n',
    ),
    "loose file": ('"label_smoothing"]\n', '"quiet"]\nplugins = ["./quiet.py"]\n', ""),
    "loose file by its path": (
        '"label_smoothing"]\n', '"quiet"]\nplugins = ["{folder}/quiet.py"]\n', "",
    ),
    "loose file without an ending": (
        '"label_smoothing"]\n', '"quiet"]\nplugins = ["./quiet"]\n', "",
    ),
    "loose file that no row needs": (
        '"label_smoothing"]\n', '"label_smoothing"]\nplugins = ["./quiet.py"]\n', "",
    ),
    "alias of a loose file's": (
        '"label_smoothing"]\n', '"mine"]\nplugins = ["./quiet.py"]\n',
        '[tricks]\nmine = { use = "quiet" }\n',
    ),
    "package that is installed": (
        '"label_smoothing"]\n', '"unasked"]\nplugins = ["ablate-unasked"]\n', "",
    ),
    "package without being named": ('"label_smoothing"]\n', '"unasked"]\n', ""),
    "package in a bundle": (
        '"label_smoothing"]\n', '"both"]\n',
        '[tricks]\nboth = { bundle = ["label_smoothing", "unasked"] }\n',
    ),
    "module as a plugin": ('"label_smoothing"]\n', '"quiet"]\nplugins = ["hostile"]\n', ""),
    "function as a plugin": (
        '"label_smoothing"]\n', '"quiet"]\nplugins = ["hostile:model"]\n', "",
    ),
    "function as a trick": ('"label_smoothing"]\n', '"hostile:model"]\n', ""),
    "Python as a study to extend": ("[study]", 'extends = "quiet.py"\n[study]', ""),
    "a study of a stranger's": ("[study]", 'extends = "extended.toml"\n[study]', ""),
    "Python's own console": ('"digits"', '"code:interact"', ""),
    "Python's own abort": ('"digits"', '"os:abort"', ""),
    "Python's own abort as a model": ('"resnet8"', '"os:abort"', ""),
    "Python's own, deeper": ('"digits"', '"os.path:abspath"', ""),
    "ablate itself": ('"digits"', '"ablate.cli.main:main"', ""),
    "this program": ('"digits"', '"__main__:main"', ""),
    "a folder's name as code": ('"digits"', '"imagefolder:hostile"', ""),
    "timm with an address": ('"resnet8"', '"timm/hostile:model"', ""),
    "a hub's address": ('"resnet8"', '"timm/hf_hub:stranger/model"', ""),
    "a relative module": ('"resnet8"', '".hostile:model"', ""),
    "a call": ('"resnet8"', '"hostile:model()"', ""),
    "attributes of attributes": ('"resnet8"', '"hostile:os.abort"', ""),
    "two colons": ('"resnet8"', '"hostile:os:abort"', ""),
    "a line's end": ('"resnet8"', '"hostile:model\\n"', ""),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a stranger's module, package, trick and installed plugin."""
    marks = tmp_path / "marks"
    (tmp_path / "package").mkdir()
    marks.mkdir()
    hostile = HOSTILE.format(marks=str(marks))
    for name in ("hostile.py", "hostilé.py", "package/__init__.py", "package/inner.py"):
        (tmp_path / name).write_text(hostile, "utf-8")
    for name in ("quiet.py", "quiet", "unasked.py"):
        (tmp_path / name).write_text(TRICK)
    (tmp_path / "extended.toml").write_text('[study]\nplugins = ["./quiet.py"]\n')
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    info = tmp_path / "ablate_unasked-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ablate-unasked\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ablate.tricks]\nunasked = unasked:Quiet\n")
    return tmp_path


def marks(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "marks").iterdir())


def cleared(folder: Path) -> list[str]:
    """The markers that there were."""
    found = marks(folder)
    for name in found:
        (folder / "marks" / name).unlink()
    return found


def ablate(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A real command, in a process that has the stranger's modules on its path; no terminal."""
    return forked.run(
        [*ABLATE, *map(str, arguments)], cwd=folder, env=environment(folder),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip


def written(folder: Path, names: tuple[str, str] = DIGITS, file: str = "study.toml") -> str:
    (folder / file).write_text(STUDY.format(data=names[0], model=names[1]), "utf-8")
    return file


def hostile_studies(folder: Path) -> Iterator[tuple[str, str]]:
    """(what it does, file)."""
    plain = STUDY.format(data='"digits"', model="resnet8")
    for number, (what, (old, new, more)) in enumerate(WAYS.items()):
        text = plain.replace(old, new.replace("{folder}", str(folder))) if old else plain
        assert text != plain or more, what
        (folder / f"way{number}.toml").write_text(f"{text}\n{more}", "utf-8")
        yield what, f"way{number}.toml"


def test_no_plugins_runs_nothing_that_a_study_names(
    place: Path, proved: Proved, long: bool
) -> None:
    """Each way, by each command that takes a study; the options name the same."""
    times, passed = 0, []
    plain = written(place)
    commands = ("check", "plan", "run") if long else ("plan",)
    for what, file in hostile_studies(place):
        for command in commands:
            few = ["--limit", "20"] if command != "check" else []
            done = ablate(place, command, file, "--no-plugins", *few)
            assert marks(place) == [], (what, command)
            assert "Traceback" not in done.stderr
            assert done.returncode in (0, 2), (what, command, done.stderr)
            passed += [what] * (done.returncode == 0)
            times += 1
    # what is sound without what is refused
    assert set(passed) <= {
        "loose file that no row needs", "a study of a stranger's", "teacher from a file",
    }  # fmt: skip
    for options in (
        ["--set", "recipe.model=hostile:model"],
        ["--set", 'study.datasets=["hostile:data"]'],
        ["--set", 'study.plugins=["./quiet.py"]', "--set", 'study.stack=["quiet"]'],
        ["--dataset", "hostile:data"],
        ["--set", 'trial.t.set.model="hostile:model"'],
    ):
        done = ablate(place, "plan", plain, *options, "--no-plugins")
        assert done.returncode == 2, options
        assert marks(place) == [], options
        times += 1
    for words in (
        ["datasets", "show", "hostile:data"],
        ["models", "show", "hostile:model"],
        ["tricks", "show", "./quiet.py"],
        ["tricks", "show", "unasked"],
    ):
        done = ablate(place, *words, "--no-plugins")
        assert done.returncode == 2, words
        assert len(done.stderr.splitlines()) <= 2, words
        times += 1
    for words in (
        ["tricks"],
        ["models"],
        ["datasets"],
        ["schema"],
        ["doctor"],
        ["datasets", "fetch", "hostile:data"],
    ):
        assert ablate(place, *words, "--no-plugins").returncode in (0, 2), words
        times += 1
    assert marks(place) == []
    proved(
        "safety", "a study that names functions, loose files or packages, with `--no-plugins`",
        f"{len(WAYS)} ways to name a stranger's module, and by options; commands that take studies",
        times, "nothing is imported or called",
    )  # fmt: skip


def test_check_calls_no_function(place: Path, proved: Proved) -> None:
    written(place, OWN)
    done = ablate(place, "check", "study.toml")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [
        "study.toml: ok (1 dataset × 2 rows × 1 seed = 2 trials)",
        f"  not called: {place / 'hostile.py'} (data set hostile:data, model hostile:model); "
        "ablate plan calls it",
    ]
    assert marks(place) == []
    times = 1
    for what, said in {
        "code:interact": "is in the module code, which is of Python itself",
        "os:abort": "is in the module os, which is of Python itself",
        "__main__:main": "is in the module __main__, which is no file's",
        "ablate.cli.main:main": "is in the module ablate, which is of ablate itself",
        "hostile:dat": "hostile has no function 'dat'",
        "hostille:data": "hostille does not import: no module named 'hostille'",
        "package.innner:data": "does not import: no module named 'package.innner'",
    }.items():
        for names in ((f'"{what}"', "resnet8"), ('"digits"', what)):
            written(place, names)
            done = ablate(place, "check", "study.toml")
            line = "study.toml:2: study.datasets[0]" if names[1] == "resnet8" else "study.toml:7: "
            assert done.returncode == 2, what
            assert done.stdout.startswith(line), done.stdout
            assert said in done.stdout.splitlines()[0]
            assert marks(place) == [], what
            times += 1
    (place / "broken.py").write_text("def data(:\n")
    written(place, ('"broken:data"', "resnet8"))
    assert "broken does not import: SyntaxError" in ablate(place, "check", "study.toml").stdout
    proved(
        "safety", "`check` of a study that names functions as data set and model",
        "of a file that marks its import and its calls, of Python itself, misspelled", times + 1,
        "none is imported or called; what is misspelled is found",
    )  # fmt: skip


def test_a_function_is_told_before_it_is_called(place: Path, proved: Proved) -> None:
    """By `plan` and `run`, also where it ends the process."""
    for name, code in {"leaving": "os._exit(7)", "aborting": "os.abort()"}.items():
        (place / f"{name}.py").write_text(f"import os\n\ndef data():\n    {code}\n")
        written(place, (f'"{name}:data"', "hostile:model"))
        for command in ("plan", "run"):
            done = ablate(place, command, "study.toml")
            assert done.returncode not in (0, 2)
            assert f"calls {place / f'{name}.py'} (data set {name}:data)" in done.stderr
    written(place, OWN)
    done = ablate(place, "plan", "study.toml", "--json")
    code = f"{place / 'hostile.py'} (data set hostile:data, model hostile:model)"
    assert json.loads(done.stdout)["code"] == [code]
    assert done.stderr == f"calls {code}\n"
    assert cleared(place) == ["data set called", "imported", "model called"]
    done = ablate(place, "plan", "study.toml")
    assert f"runs code of {code}" in done.stdout.splitlines()
    proved(
        "safety", "a function that ends the process when it is called", "a data set, by plan and "
        "run", 4, "it was told beforehand, with its file",
    )  # fmt: skip


def test_what_reads_results_calls_no_function(place: Path, proved: Proved) -> None:
    """Also of a study file; a trial is verified only where its code may run."""
    text = (place / written(place, OWN)).read_text()
    (place / "study.toml").write_text(text.replace("image_size = 8\n", ""))  # the data set's own
    ran = ablate(place, "run", "study.toml")
    assert ran.returncode == 0, ran.stderr
    assert cleared(place) == ["data set called", "imported", "model called"]
    commands: Sequence[Sequence[str]] = (
        ["report", "study.toml"], ["report", "study"], ["report"], ["report", "--per-class"],
        ["report", "study.toml", "--seeds", "1"], ["report", "study.toml", "-o", "r.html"],
        ["report", "study", "--methods"], ["export", "study.toml", "-o", "a.zip"],
        ["export", "-o", "b.zip"], ["status"], ["query", "select label from effects"],
        ["diff", "study:0", "study:1"], ["logs", "study:1/hostile:data/0"], ["gc"], ["doctor"],
        ["reindex"], ["merge", "ablate-results", "--store", "another"],
    )  # fmt: skip
    for words in commands:
        done = ablate(place, *words)
        assert done.returncode in (0, 1), (words, done.stderr)
        assert words[0] != "report" or "-o" in words or "hostile:data" in done.stdout, words
        assert marks(place) == [], words
    refused = ablate(place, "verify", "--no-plugins")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: data set 'hostile:data' {REFUSED}\n")
    assert marks(place) == []
    verified = ablate(place, "verify")
    code = f"runs code of {place / 'hostile.py'} (data set hostile:data, model hostile:model)"
    assert verified.returncode == 0, verified.stderr
    assert code in verified.stderr.splitlines()
    assert cleared(place) == ["data set called", "imported", "model called"]
    proved(
        "safety", "results of functions, read, and verified with `--no-plugins`",
        "17 commands on a store and on the study's file", len(commands) + 1, "none is called",
    )  # fmt: skip


def test_from_python_the_same_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    written(place, OWN)
    with pytest.raises(AblateError, match=REFUSED):
        StudyFile.load("study.toml", bundled_only=True)
    # what a study has that was loaded without, and a parameter that names a model
    loaded = StudyFile.load("study.toml")
    strict = StudyFile(loaded.definition, bundled_only=True)
    calls: tuple[Callable[[], object], ...] = (
        lambda: strict.plan(device="cpu"),
        lambda: strict.run(device="cpu", quiet=True),
    )
    for call in calls:
        with pytest.raises(AblateError, match=REFUSED):
            call()
    assert marks(place) == []
    # what runs is told before it does
    written(place, ('"code:interact"', "hostile:model"), "told.toml")
    with pytest.raises(AblateError):
        StudyFile.load("told.toml").run(device="cpu")
    written(place, ('"hostile:nothing"', "resnet8"), "told.toml")
    with pytest.raises(AblateError, match="hostile has no function 'nothing'"):
        StudyFile.load("told.toml").run(device="cpu")
    assert capfd.readouterr().err == "", "nothing is called"
    assert marks(place) == [], "nor imported"


@pytest.mark.parametrize("how", [["-m", "ablate"], ["-B", "-mablate"], ["-m", "ablate.__main__"]])
def test_python_m_imports_nothing_from_the_working_folder(
    tmp_path: Path, how: list[str], proved: Proved
) -> None:
    """`python -m` puts the folder first on the path; Python's own start is not ours to mend."""
    names = (
        *("__future__", "typing", "torch", "json", "re", "typer", "click", "rich", "pydantic"),
        *("ablate_tricks", "numpy", "tomli", "tomllib", "duckdb", "pickle", "mine"),
    )
    (tmp_path / "marks").mkdir()
    for name in names:
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'marks' / name)!r}, 'w').close()\nraise ImportError('no')\n"
        )
    written(tmp_path, ('"digits"', "mine:net"))
    given = environment()
    given.pop("PYTHONPATH", None)
    given.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [sys.executable, *how, "check", "study.toml"],
        cwd=tmp_path, env=given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "mine does not import: no module named 'mine'" in done.stdout, done.stderr
    assert done.returncode == 2
    assert marks(tmp_path) == []
    proved(
        "safety", "`python -m ablate` in a folder with files named like modules",
        f"{len(names)} of them, `check`", len(names), "none is imported",
    )  # fmt: skip


def test_a_package_of_the_working_folder_still_runs_with_python_m(tmp_path: Path) -> None:
    """Its `__init__` imports ablate, as a package of tricks does."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("import ablate\n")
    (tmp_path / "mine/__main__.py").write_text("import mine.more, helper\nprint('it ran')\n")
    (tmp_path / "mine/more.py").write_text("")
    (tmp_path / "helper.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "mine", "ablate"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("it ran\n", "")


def test_a_store_cannot_name_other_code_for_a_study_s_teacher(place: Path, proved: Proved) -> None:
    """Where a trick came from is no part of a key, so a store may say what it likes."""
    text = STUDY.format(data='"digits"', model="resnet8").replace(
        '["label_smoothing"]\n', '["distill"]\n'
    )
    more = '[tricks]\ndistill = { teacher = "@big" }\n[trial.big]\ntricks = ["label_smoothing"]\n'
    (place / "study.toml").write_text(f"{text}\n{more}")
    ran = ablate(place, "run", "study.toml", "--limit", "20")
    assert ran.returncode == 0, ran.stderr
    changed = 0
    for file in (place / "ablate-results" / "trials").glob("*/trial.json"):
        document = json.loads(file.read_text())
        for trick in document["trial"]["tricks"]:
            if trick["name"] == "label_smoothing":
                trick["source"] = str(place / "quiet.py")
                changed += 1
        file.write_text(json.dumps(document))
    assert changed
    assert marks(place) == []
    again = ablate(place, "run", "study.toml", "--limit", "20", "--retrain", "distill")
    assert again.returncode == 0, again.stderr
    assert marks(place) == []
    proved(
        "safety", "a store whose trials name other files for the same key", "the teacher's trick, "
        "then a run that learns from it", changed, "no other file is imported",
    )  # fmt: skip
