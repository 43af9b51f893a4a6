"""Help: its layout, that it is true, and that it is instant."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from ablate.cli.help import TEXTS
from ablate.cli.lazy import register
from ablate.cli.options import COMMON_NAMES
from tests.helpers.cli_process import run_cli
from tests.helpers.environment import environment

GOLDEN = """\
Which training tricks help, by how much, and how sure one can be.

Usage: ablate <command> [options]

Study      init      write a commented study file
           check     list every mistake in study files
           plan      show rows, trials, time, and what the seeds can resolve; trains nothing
           run       train what is missing, then print the table
Results    status    what is done, running, failed; --watch follows a run from another terminal
           report    the comparison table: terminal, markdown, html, latex, csv, json, parquet
           diff      two rows or trials: the settings that differ, then the metrics
           query     one read-only SQL statement over trials, epochs, predictions, effects
           export    one archive: studies, tables, seeds, provenance
           merge     add another store's trials
           verify    retrain one finished trial and compare
           logs      the log of one trial
Catalogue  tricks · models · datasets    list them; `show NAME` for one; `datasets fetch NAME`
           schema    JSON Schema of study files, for editors
Upkeep     doctor    check this machine and the store, say what to do
           reindex   rebuild the database from the spool
           gc        show, then remove, what no study needs
           --install-completion, --show-completion    the Tab key in your shell
"""


def commands() -> dict[str, object]:
    """Every command and group by its path."""
    top = get_command(register())
    found: dict[str, object] = {}
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        found[name] = command
        for inner, sub in getattr(command, "commands", {}).items():
            found[f"{name} {inner}"] = sub
    return found


def test_main_help_is_the_reference_layout_with_the_commands_there_are() -> None:
    done = run_cli("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith(GOLDEN)
    assert done.stdout.splitlines()[-2].startswith("Everywhere: -h  -q  -v  --json  --no-plugins")
    assert "ablate run studies/quickstart.toml" in done.stdout.splitlines()[-1]


def test_main_help_lists_every_command_and_no_other() -> None:
    listed = set()
    for line in TEXTS[""].splitlines():
        if match := re.match(r"(?:Study|Results|Catalogue|Upkeep|) +([a-z]+) {2,}\S", line):
            listed.add(match[1])
    listed |= set(re.findall(r"^Catalogue  (\w+) · (\w+) · (\w+)", TEXTS[""], re.M)[0])
    assert listed == {path for path in commands() if " " not in path}


@pytest.mark.parametrize("path", sorted(commands()))
def test_help_of_a_command_names_its_options_and_no_others(path: str) -> None:
    text = TEXTS[path]
    params = commands()[path].params  # type: ignore[attr-defined]
    own = {
        option
        for param in params
        if param.param_type_name == "option" and param.name not in COMMON_NAMES
        for option in param.opts
        if option.startswith("--")
    }
    everywhere = {"--store", "--data", "--json", "--no-plugins", "--seeds", "--size"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    short = {"--output"}  # shown as -o
    assert own - short <= named | {"--help"}, "an option without help"
    assert named <= own | everywhere | {"--set"}, "help for an option that is not there"
    assert "\nUsage: ablate " in text
    assert "\nExample    ablate " in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [["-h"], ["run", "-h"], ["tricks", "show", "--help"], []])
def test_help_needs_no_argument(arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 0
    assert "Usage: ablate" in done.stdout


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from ablate.cli.main import main; main([sys.argv[1]]); "
        "print(*sorted({'rich', 'torch', 'duckdb', 'pydantic', 'numpy', 'scipy'} & {*sys.modules}),"
        " file=sys.stderr)"
    )
    for argument in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, argument],
            capture_output=True,
            text=True,
            env=environment(),
        )
        assert done.stderr.strip() == ""


def test_help_is_instant() -> None:
    script = Path(sys.executable).with_name("ablate")
    if not script.exists():
        pytest.skip("the console script is not installed beside this interpreter")

    def once() -> float:
        """Seconds of the processor: other work on the machine is not ours."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([script, "--help"], capture_output=True, check=True, env=environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) < 0.25


def test_help_in_ascii_where_the_terminal_has_no_more() -> None:
    done = run_cli("--help", env={"ABLATE_ASCII": "1"})
    assert done.stdout.isascii()
    assert "tricks - models - datasets" in done.stdout


def test_completion_script_is_there() -> None:
    done = run_cli("--show-completion", env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": ""})
    # which shell runs the tests is not known; that the option exists is
    assert "no option" not in done.stderr


def test_completion_offers_commands_and_options() -> None:
    def offered(words: str) -> str:
        done = run_cli(
            env={
                "_ABLATE_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split(" ")) - 1),
            }
        )
        return done.stdout

    assert "report" in offered("ablate rep")
    assert "--columns" in offered("ablate report --col")
    assert "show" in offered("ablate tricks sh")


def test_every_command_can_be_registered_alone() -> None:
    from ablate.cli.app import TEXTS
    from ablate.cli.lazy import COMMANDS

    app = register()
    names = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    assert names == set(COMMANDS)
    for name in COMMANDS:
        assert run_cli(name, "--help").stdout.strip() == TEXTS[name].strip()
