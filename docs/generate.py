"""Write docs/tricks.md, cli.md and models.md from the code: `python docs/generate.py [--check]`.

With `--check` nothing is written; the exit code is 1 if a page is not what would be written.
"""

from __future__ import annotations

import difflib
import inspect
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from models_page import models_page

from ablate.hookspecs import HOOKS, SLOTS
from ablate.tricks.base import Trick
from ablate.tricks.discovery import LoadedTrick, load_catalogue
from ablate.tricks.ordering import slot_index

HERE = Path(__file__).resolve().parent
MADE = "<!-- Made by docs/generate.py; edit that, docs/tricks.toml or the code, not this page. -->"


def tricks_page() -> str:
    """The bundled tricks: a table, then a section each."""
    from ablate.cli.trick_facts import hooks, summary

    facts = tomllib.loads((HERE / "tricks.toml").read_text(encoding="utf-8"))
    catalogue = load_catalogue(bundled_only=True)
    if unknown := set(facts) - set(catalogue.names):
        raise SystemExit(f"docs/tricks.toml: no such tricks: {', '.join(sorted(unknown))}")
    loaded = [catalogue.load(name) for name in catalogue.names]
    lines = [
        *("# The bundled tricks", "", MADE, ""),
        "Each is one file in `plugins/ablate_tricks`, found through the same entry points as",
        "anyone's ([writing-a-trick.md](writing-a-trick.md)). `*` marks a hook that the trick",
        "replaces; two that replace one hook cannot stand in a row. [hooks.md](hooks.md) explains",
        "hooks and slots.",
        "",
        "Besides what its section names, each is trained by itself, with every other that it",
        "can stand beside, and from its checkpoint after every epoch",
        "(`tests/tricks/test_installed.py` and `test_pairs.py`, `tests/faults` for the last).",
        *("", "| trick | what it does | hooks |", "| :-- | :-- | :-- |"),
    ]
    for trick in loaded:
        acts = ", ".join(f"`{hook.removesuffix(' *')}`{hook[-2:] if hook.endswith('*') else ''}"
                         for hook in hooks(trick.cls))  # fmt: skip
        lines.append(f"| [`{trick.name}`](#{trick.name}) | {summary(trick.cls)} | {acts} |")
    for trick in loaded:
        if trick.name not in facts:
            raise SystemExit(f"docs/tricks.toml has nothing on {trick.name}")
        lines += ["", *_section(trick, facts[trick.name])]
    return "\n".join(lines) + "\n"


def _section(trick: LoadedTrick, facts: dict[str, Any]) -> Iterator[str]:
    from ablate.cli.trick_facts import in_a_study, parameters

    module = inspect.getdoc(sys.modules[trick.cls.__module__]) or ""
    yield from (f"## {trick.name}", "", *module.splitlines())
    if own := inspect.cleandoc(trick.cls.__dict__.get("__doc__") or ""):
        yield from ("", *own.splitlines())
    yield from ("", f"- Definition: {facts['formula']}")
    fields = parameters(trick.cls)
    yield "- Parameters: none" if not fields else "- Parameters:"
    for field in fields:
        yield f"  - `{field.name}`: {field.kind}, default {field.default}. {field.description}"
    yield f"- Hooks: {', '.join(_hooks(trick.cls))}"
    for title, tags in _tags(trick.cls):
        yield f"- {title}: {', '.join(f'`{tag}`' for tag in sorted(tags))}"
    yield f"- In a study: `{in_a_study(trick.cls)}`"
    files = ", ".join(f"`{file}`" for file in facts["tests"])
    yield f"- Tested against: {facts['oracle']} ({files})"
    yield f"- Where implementations disagree: {facts['disagree']}"


def _hooks(cls: type[Trick]) -> Iterator[str]:
    for hook, info in HOOKS.items():
        options = getattr(getattr(cls, hook, None), "ablate_impl", None)
        if options is None:
            continue
        how = "wraps" if options["wrapper"] else "replaces"
        if info.kind != "replaceable":
            how = {"collected": "adds to", "notification": "is told of"}[info.kind]
        slot = f" in the slot `{SLOTS[hook][slot_index(cls(), hook)]}`" if hook in SLOTS else ""
        yield f"{how} [`{hook}`](hooks.md#{hook}){slot}"


def _tags(cls: type[Trick]) -> Iterator[tuple[str, frozenset[str]]]:
    for title, tags in (
        ("Provides", cls.provides),
        ("Not in one row with another that has", cls.exclusive),
        ("Needs", cls.requires),
        ("Refuses", cls.conflicts),
        ("Stands before", cls.before),
        ("Stands after", cls.after),
    ):
        if tags:
            yield title, tags


def cli_page() -> str:
    """`--help` of every command, as the program prints it."""
    from ablate.cli.help import TEXTS
    from ablate.cli.lazy import register

    register()

    lines = [
        *("# The command line", "", MADE, ""),
        "What `ablate COMMAND --help` prints, command by command. Results go to stdout, all else",
        "to stderr. The exit code is 0 when all is done, 1 when a trial failed, 2 when a command",
        "was refused before any training, 130 after Ctrl-C, 143 after SIGTERM, 129",
        "after SIGHUP, 70 for a bug.",
    ]
    for path in TEXTS:
        title = f"ablate {path}".strip()
        lines += ["", f"## {title}", "", "```text", _help(path).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _help(path: str) -> str:
    program = "import sys; from ablate.cli.main import main; sys.exit(main(sys.argv[1:]))"
    # A fixed width and encoding, whoever runs this.
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "100", "NO_COLOR": "1"}
    environment = {k: v for k, v in environment.items() if k not in ("ABLATE_ASCII", "TERM")}
    done = subprocess.run(
        [sys.executable, "-c", program, *path.split(), "--help"],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=True,
    )
    return done.stdout


PAGES: dict[str, Callable[[], str]] = {
    "tricks.md": tricks_page,
    "cli.md": cli_page,
    "models.md": partial(models_page, MADE),
}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are not current."""
    stale = 0
    for name, make in PAGES.items():
        file, wanted = HERE / name, make()
        found = file.read_text(encoding="utf-8") if file.exists() else ""
        if found == wanted:
            continue
        if "--check" not in arguments:
            file.write_text(wanted, encoding="utf-8")
            print(f"wrote docs/{name}")
            continue
        stale += 1
        print(f"docs/{name} is not current: python docs/generate.py")
        changes = difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), "found", "wanted", lineterm="", n=0
        )
        print("\n".join(list(changes)[:20]))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
