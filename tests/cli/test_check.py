"""`init`, `check`, the catalogue and how errors end."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from ablate.cli.main import main
from ablate.tricks.discovery import load_catalogue
from tests.helpers.cli_process import ABLATE, STUDY, Cli, run_cli
from tests.helpers.environment import environment
from tests.helpers.pty_process import on_terminal

BROKEN = STUDY.replace('"mixup"]', '"mixupp"]').replace("epochs     = 1", 'epochs     = "20"')


def test_init_writes_a_study_that_passes_check(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", "my.toml")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Wrote my.toml (13 lines).\n"
    tomllib.loads((tmp_path / "my.toml").read_text())
    checked = cli("check", "my.toml")
    assert checked.returncode == 0
    assert checked.stdout == "my.toml: ok (1 dataset × 3 rows × 3 seeds = 9 trials)\n"
    again = cli("init", "my.toml")
    assert again.returncode == 2
    assert again.stderr.startswith("error: my.toml exists already\n  ablate init my.toml --force")


def test_check_is_one_line_each_where_no_person_looks(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(STUDY)
    (tmp_path / "bad.toml").write_text(BROKEN)
    done = cli("check", "good.toml", "bad.toml")
    assert done.returncode == 2
    good, stack, epochs, count = done.stdout.splitlines()
    assert good == "good.toml: ok (1 dataset × 3 rows × 2 seeds = 6 trials)"
    assert stack.startswith("bad.toml:4: study.stack[1]: unknown trick 'mixupp'; did you mean")
    assert epochs.startswith("bad.toml:8: recipe.epochs: expected a whole number")
    assert count == "2 problems in 1 of 2 files"
    assert done.stderr == ""


def test_check_underlines_the_source_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BROKEN)
    shown, code = on_terminal("check", "bad.toml", cwd=tmp_path)
    assert code == 2
    lines = shown.splitlines()
    at = next(i for i, line in enumerate(lines) if '"mixupp"' in line and "│" in line)
    assert lines[at].startswith("    4 │ stack    = [")
    assert lines[at + 1].index("^") == lines[at].index('"mixupp"')
    assert lines[at + 1].count("^") == len('"mixupp"')


def test_check_as_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BROKEN)
    done = cli("check", "bad.toml", "--json")
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    (file,) = document["files"]
    assert not file["ok"]
    assert [problem["line"] for problem in file["problems"]] == [4, 8]


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["rnu"], "error: no command 'rnu'; did you mean 'run'?", "ablate --help"),
        (["run"], "error: missing argument 'STUDY'", "ablate run --help"),
        (["run", "--seds"], "error: no option '--seds'; did you mean '--seeds'?", "run --help"),
        (["run", "s.toml", "--seeds", "x"], "error: invalid value for '--seeds': expected a whole",
         "run --help"),
        (["run", "nothing.toml"], "nothing.toml: no such study file", ""),
        (["report"], "error: no store at ablate-results", "ablate run makes it"),
        (["logs", "12"], "error: no store at ablate-results", ""),
        (["tricks", "show", "mixupp"], "error: unknown trick 'mixupp'; did you mean 'mixup'?", ""),
        (["models", "show", "resnet51"], "error: unknown model 'resnet51'", "ablate models"),
        (["datasets", "show", "digit"], "error: unknown data set 'digit'; did you mean 'digits'",
         ""),
        (["--color", "red", "tricks"], "error: invalid value for '--color'", ""),
        (["run", "s.toml", "--device", "tpu"], "error: --device 'tpu': unknown device", "cuda:0"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_a_hint(
    arguments: list[str], said: str, hint: str, capfd: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_STORE", raising=False)
    (tmp_path / "s.toml").write_text(STUDY)
    assert main(arguments) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    first, *rest = shown.err.splitlines()
    assert first.startswith(said)
    assert hint in "".join(rest)
    assert all(line.startswith("  ") for line in rest)


def test_a_bug_is_told_in_one_line_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("ablate.store.store.Store.open", broken)
    assert main(["status", "--store", str(tmp_path)]) == 70
    line = capfd.readouterr().err
    assert line.startswith("bug: KeyError in test_check.py:")
    (saved,) = tmp_path.glob("crash-*.txt")
    assert line.rstrip().endswith(f"traceback saved in {saved}")
    assert "KeyError: 'lost'" in saved.read_text()
    assert main(["status", "--store", str(tmp_path), "-vv"]) == 70
    assert "Traceback (most recent call last)" in capfd.readouterr().err


def test_a_bug_where_nothing_can_be_written_is_told_on_the_spot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("lost")

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    with monkeypatch.context() as patched:
        patched.setattr("ablate.store.store.Store.open", broken)
        patched.setattr("tempfile.gettempdir", nowhere)
        code = main(["status", "--store", str(tmp_path / "none")])
    assert code == 70
    told = capfd.readouterr().err
    assert told.startswith("bug: KeyError in test_check.py:")
    assert "KeyError: 'lost'" in told


@pytest.mark.parametrize("command", [["plan", "quickstart"], ["doctor"]])
def test_a_folder_that_is_gone_is_said_before_torch_is_imported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(command) == 2
    assert capfd.readouterr().err.startswith("error: the working folder is gone\n")


def test_a_data_set_that_ends_the_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "leaving.py").write_text("import sys\n\ndef at_once():\n    sys.exit(0)\n")
    (tmp_path / "gone_already.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "oddly.py").write_text(
        "def data():\n    raise BaseException('odd')\nmodel = None\n"
    )
    (tmp_path / "oddest.py").write_text("raise GeneratorExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["datasets", "show", "leaving:at_once"]) == 2
    assert "error: data set 'leaving:at_once' raised SystemExit" in capfd.readouterr().err
    assert main(["datasets", "show", "gone_already:data"]) == 2
    assert "gone_already does not import: SystemExit: 0" in capfd.readouterr().err
    for words, said in {
        "datasets show oddly:data": "error: data set 'oddly:data' raised BaseException: odd",
        "models show oddly:data": "error: model 'oddly:data' raised TypeError",
        "models show oddly:model": "oddly has no function 'model'",
        "datasets show oddest:data": "oddest does not import: GeneratorExit",
    }.items():
        assert main(words.split()) == 2
        assert said in capfd.readouterr().err


def test_interruption_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ablate.store.store.Store.open", interrupted)
    assert main(["status"]) == 130
    assert capfd.readouterr().err == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen(
        [*ABLATE, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout
    assert process.stderr
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=30)
    assert said == b""


def test_every_installed_trick_is_listed_and_shown(cli: Cli) -> None:
    listed = cli("tricks")
    assert listed.returncode == 0
    names = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert set(load_catalogue(bundled_only=True).names) <= set(names)
    document = json.loads(cli("tricks", "--json").stdout)
    assert {trick["name"] for trick in document["tricks"]} <= set(names)
    for trick in document["tricks"]:
        assert trick["summary"], trick["name"]
    shown = cli("tricks", "show", "mixup").stdout
    assert "Zhang et al., 2017 · arxiv.org/abs/1710.09412" in shown
    assert "in a study   mixup = { alpha = 0.2 }" in shown


def test_a_broken_trick_file_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_that_name\n")
    done = cli("tricks", "show", "./mine.py")
    assert done.returncode == 2
    assert done.stderr.startswith("error: plugin ./mine.py does not import: no module named")


def test_models_and_datasets(cli: Cli) -> None:
    listed = cli("datasets")
    assert "digits" in listed.stdout
    assert "✓" in listed.stdout.splitlines()[1]
    assert '  in a study      datasets = ["digits"]' in cli("datasets", "show", "digits").stdout
    card = cli("models", "show", "resnet50_v1").stdout
    assert "25.6 M parameters" in card
    assert "✓ 16 residual blocks" in card


def test_schema_is_json_schema(cli: Cli, tmp_path: Path) -> None:
    done = cli("schema", "-o", "s.json")
    assert done.returncode == 0
    document = json.loads((tmp_path / "s.json").read_text())
    assert document["$schema"].startswith("https://json-schema.org/")
    assert document == json.loads(cli("schema").stdout)


def test_an_unknown_trick_is_not_answered_with_all_of_them(cli: Cli) -> None:
    done = cli("tricks", "show", "mixupp")
    assert (done.returncode, done.stderr) == (
        2, "error: unknown trick 'mixupp'; did you mean 'mixup'?\n",
    )  # fmt: skip
    done = cli("tricks", "show", "zzz")
    assert (done.returncode, done.stderr) == (2, "error: unknown trick 'zzz'\n  ablate tricks\n")


def test_no_plugins_is_named_where_it_is_why_a_trick_is_unknown(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from ablate import Trick, hookimpl\n\n\nclass Mine(Trick):\n    @hookimpl\n"
        "    def on_step_end(self):\n        pass\n"
    )
    text = STUDY.replace('"mixup"]', '"mine", "mixupp"]\nplugins = ["./mine.py"]')
    (tmp_path / "s.toml").write_text(text)
    said = cli("check", "s.toml", "--no-plugins").stdout
    without = "unknown trick 'mine' without ./mine.py, which --no-plugins leaves out"
    assert f"s.toml:4: study.stack[1]: {without}\n" in said
    assert "study.stack[2]: unknown trick 'mixupp'; did you mean 'mixup'?\n" in said
    said = cli("plan", "s.toml", "--no-plugins").stderr
    assert f"{without}\n  leave --no-plugins away, or drop the trick from the stack\n" in said
    assert "'mine'" not in cli("check", "s.toml").stdout


def test_output_in_ascii_is_escaped_and_no_error() -> None:
    done = run_cli("tricks", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, fresh=True)
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_options_work_before_and_after_the_command(cli: Cli) -> None:
    before = cli("--json", "--no-plugins", "tricks")
    after = cli("tricks", "--json", "--no-plugins")
    assert json.loads(before.stdout) == json.loads(after.stdout)
    assert cli("-q", "models").stderr == ""
    assert cli("models", "-q").stderr == ""
    assert cli("models").stderr != ""
