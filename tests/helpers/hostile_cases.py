"""Every option of every command with what nobody should type: found by asking the application."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What a command is given where the option at hand is another one; by command and parameter, or
# by the parameter alone. A new parameter that must be given needs a line here.
SOUND = {
    "a": "study:0",
    "b": "study:1",
    "files": "study.toml",
    "name": "mixup",
    "others": "other",
    "study": "study.toml",
    "trial": "study:0/digits/0",
    "init file": "new.toml",
    "datasets show name": "digits",
    "datasets fetch name": "imagenette",
    "models show name": "resnet8",
}
WITH = {"export": ("-o", "made.zip")}  # options that a command needs
# They write into the shell's own files, and are typer's.
LEFT_OUT = frozenset({"install_completion", "show_completion"})
EVERYWHERE = frozenset({"color", "quiet", "verbose", "version", "json", "no_plugins"})
WRITES = frozenset({"file", "store"})  # parameters whose value may name what is written

LONG = "x" * (128 * 1024 - 8)  # Linux takes no longer word
TEXTS = [
    *(
        "",
        " ",
        "-",
        "--",
        "--no-such",
        "nowhere/at/all",
        "..",
        "/",
        "/dev/null/x",
        "~",
        "~nobody/x",
    ),
    *(
        "é\u202e\u200b名",
        "[red]x[/red]",
        "<script>alert(1)</script>",
        "a|b",
        "\\input{x}",
        "=cmd()",
    ),
    *("\x1b[31mred\x07", "two\nlines", "\udcff", "CON", "nul.toml", "'; drop table trials", "%s%n"),
    *("../../../../etc/passwd", "/proc/self/mem", "@x", "x=1", "recipe.epochs=0", LONG),
]
NUMBERS = ["0", "-1", "1.5", "nan", "inf", "1e999", "9" * 400, "9" * 5000, str(2**63), "0x10", "१"]
DEVICES = ["cuda:99", "cuda:-1", "cuda:", "mps", "tpu", "cpu:0", "cuda:9" + "9" * 400]
PLACES = ["a_folder", "a_pipe", "/proc/x", "/dev/full", "damaged.toml", "bytes.toml"]
SETTINGS = [
    *("recipe.epochs=0", "recipe.batch_size=-1", "recipe.lr=nan", "recipe.epochs=1e999"),
    *("recipe.nothing=1", "recipe=1", "study.stack=[[[]]]", "tricks.mixup.alpha=[1]", "a.b.c=1"),
    *("recipe.image_size=1000000", "recipe.batch_size=100000", "study.seeds=1000000000"),
    *("=", "recipe.=1", "\n=1", "recipe.model=a.b:c", "recipe.lr=" + "9" * 5000, "[" * 9000 + "=1"),
]


@dataclass(frozen=True)
class Case:
    """One command line. writes: the file or folder that it may make, if it ends with 0."""

    words: tuple[str, ...]
    writes: str | None = None
    command: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        shown = [w if len(w) < 60 else f"{w[:20]}…({len(w)})" for w in self.words]
        return " ".join(map(ascii, shown))


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of the application and all that is in it."""
    yield path, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from commands(inner, (*path, name))


def cases(application: Any) -> list[Case]:
    """All of them, those of one parameter together."""
    found: dict[Case, None] = {}
    for path, command in commands(application):
        for parameter in command.params:
            if parameter.name in LEFT_OUT or (path and parameter.name in EVERYWHERE):
                continue
            found |= dict.fromkeys(_of(path, command, parameter))
    found |= dict.fromkeys(map(Case, CONTRADICTIONS))
    return list(found)


def sample(found: list[Case], step: int) -> list[Case]:
    """Every `step`-th, and every contradiction: all commands, options and values have a turn."""
    return [*found[: -len(CONTRADICTIONS)][::step], *found[-len(CONTRADICTIONS) :]]


def _of(path: tuple[str, ...], command: Any, parameter: Any) -> Iterator[Case]:
    option = parameter.param_type_name == "option"
    sound = [
        SOUND.get(f"{' '.join(path)} {p.name}", SOUND.get(p.name, "no sound value in SOUND"))
        for p in command.params
        if p.param_type_name == "argument" and p.required and p is not parameter
    ]
    rest = (*sound, *(WITH.get(path[0], ()) if path and parameter.name != "file" else ()))
    name = parameter.opts[0]
    if option and (parameter.is_flag or parameter.count):
        yield Case((*path, *rest, f"{name}=1"))
        yield Case((*path, *rest, f"{name}="))
        return
    if option:
        yield Case((*path, *rest, name))  # without its value
    for value in values(parameter):
        writes = value if parameter.name in WRITES or path == ("init",) else None
        words = (f"{name}={value}",) if option else ("--", *rest, value)
        if not option:  # its place among the arguments
            place = [p for p in command.params if p.param_type_name == "argument"].index(parameter)
            words = ("--", *rest[:place], value, *rest[place:])
            yield Case((*path, *words), writes)
            continue
        yield Case((*path, *rest, *words), writes)
    if option:  # twice, and once with something that looks like an option
        yield Case((*path, *rest, name, "--json"))
        yield Case((*path, *rest, name, "1", name, "2"), "2" if parameter.name in WRITES else None)


def values(parameter: Any) -> list[str]:
    """What this parameter is given."""
    name, kind = parameter.name, str(getattr(parameter, "type", "")).lower()
    if "int" in kind or "float" in kind or name in ("seconds", "timeout"):
        return [*NUMBERS, "", "two", "--", "é\u202e", LONG]
    found = TEXTS + NUMBERS[:4]
    if name == "device":
        return DEVICES + TEXTS
    if name == "settings":
        return SETTINGS + TEXTS
    return found + PLACES


CONTRADICTIONS = [
    ("run", "study.toml", "--until", "resolved", "--seeds", "5"),
    ("run", "study.toml", "--max-seeds", "5"),
    ("run", "study.toml", "--until", "resolved", "--max-seeds", "0"),
    ("run", "study.toml", "study.toml"),
    ("plan", "study.toml", "--hooks", "99"),
    ("report", "study.toml", "--format", "html", "--json", "-o", "made.csv"),
    ("report", "--seeds", "1"),
    ("report", "study.toml", "study.toml"),
    ("report", "study.toml", "--compare", "paper", "--baseline", "0"),
    ("report", "--format", "parquet"),
    ("report", "study.toml", "--mcnemar", "--per-class", "--new-images"),
    ("query", "select 1", "select 2"),
    ("status", "--watch", "0"),
    ("status", "--watch", "-1"),
    ("status", "3"),
    ("logs",),
    ("diff", "study:0"),
    ("export", "-o", "made.rar"),
    ("export",),
    ("merge",),
    ("nothing",),
    ("tricks", "nothing"),
    ("--store",),
    ("--color", "red"),
]


def make_places(folder: Path) -> None:
    """What PLACES names."""
    (folder / "a_folder").mkdir()
    os.mkfifo(folder / "a_pipe")
    (folder / "damaged.toml").write_text("[study\nx = ")
    (folder / "bytes.toml").write_bytes(b"\xff\x00\xfe" * 100)


Snapshot = dict[str, tuple[int, int, int]]


def snapshot(folder: Path) -> Snapshot:
    """(size, time of change, inode) of all below the folder, but a store's index."""
    found: Snapshot = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            if name.startswith(("results.duckdb", ".index")):
                continue
            stat = path.lstat()
            size = 0 if path.is_dir() else stat.st_size
            found[str(path.relative_to(folder))] = (
                size,
                stat.st_mtime_ns * path.is_file(),
                stat.st_ino,
            )
    return found
