"""`ablate tricks`, `ablate tricks show NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli import trick_facts as facts
from ablate.cli.app import command, group
from ablate.cli.options import Options
from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.errors import AblateError
    from ablate.tricks.discovery import Catalogue, LoadedTrick

HELP = """\
List the installed tricks: what each does, at which hooks, and where it comes from.

Usage: ablate tricks [options]
       ablate tricks show NAME
Example    ablate tricks show mixup

A * marks a hook that the trick replaces; two tricks that replace one cannot stand in a row.
"""

SHOW = """\
Show one trick: its paper, parameters, hooks, and the line to paste into a study.

Usage: ablate tricks show NAME [options]
Example    ablate tricks show mixup

A NAME that ends in .py is a file of your own.
"""


@group("tricks", HELP)
def tricks(options: Options) -> None:
    """List them."""
    from ablate.tricks.discovery import load_catalogue

    output = options.output()
    catalogue = load_catalogue(bundled_only=options.no_plugins)
    found = dict(zip(catalogue.names, catalogue.load_all(), strict=True))
    usable = {n: t for n, t in found.items() if not isinstance(t, AblateError)}
    broken = {n: t for n, t in found.items() if isinstance(t, AblateError)}
    if output.json:
        output.document(
            {
                "tricks": [_as_json(t, list(usable.values())) for t in usable.values()],
                "broken": [
                    {"name": n, "from": catalogue.source(n), "error": e.message, "hint": e.hint}
                    for n, e in broken.items()
                ],
                "clashes": [
                    {"name": c.name, "used": c.used or None, "others": list(c.others)}
                    for c in catalogue.clashes
                ],
                "unreadable": [
                    {"package": p.package, "place": p.place, "error": p.reason}
                    for p in catalogue.unreadable
                ],
            }
        )
        return
    rows = [["trick", "what it does", "hooks", "from"]]
    rows += [
        [n, facts.summary(t.cls), ", ".join(facts.hooks(t.cls)), facts.origin(t.source)]
        for n, t in usable.items()
    ]
    rows += [
        [f"✗ {n}", _reason(e), "", facts.origin(catalogue.source(n))] for n, e in broken.items()
    ]
    head, *lines = output.table(rows)
    output.result([(head, "dim")])
    for line in lines:
        output.result([(line, "failed" if line.startswith(("✗", "x ")) else "")])
    for clash in catalogue.clashes:
        if clash.used:  # what is refused stands in the table
            output.result([("!", "worse"), (f" {clash}", "")])


def _reason(error: AblateError) -> str:
    return error.message.partition(") ")[2] or error.message


@command("tricks show", SHOW)
def show(options: Options, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Show one."""
    from ablate.tricks.discovery import load_catalogue

    output = options.output()
    is_file = name.endswith(".py")
    catalogue = load_catalogue([name] if is_file else (), bundled_only=options.no_plugins)
    names = [n for n in catalogue.names if is_file and catalogue.source(n).endswith(".py")]
    loaded = [catalogue.load(n) for n in names or [name]]
    others = _usable(catalogue)
    if output.json:
        output.document({"tricks": [_as_json(trick, others) for trick in loaded]})
        return
    for trick in loaded:
        title = [f"{trick.name}: {facts.summary(trick.cls)}", facts.citation(trick.cls)]
        output.result([(" · ".join(part for part in title if part), "bold")])
        rows = [
            [f"  {p.name}", p.kind, f"default {p.default}" if p.default else "no default",
             p.description]
            for p in facts.parameters(trick.cls)
        ]  # fmt: skip
        output.result(*output.table(rows, gap=3))
        lines = [
            ["  hooks", ", ".join(facts.hooks(trick.cls))],
            ["  together", facts.together(trick, others)],
            ["  from", facts.origin(trick.source)],
            ["  in a study", facts.in_a_study(trick.cls)],
        ]
        output.result(*output.table([line for line in lines if line[1]], gap=3))


def _usable(catalogue: Catalogue) -> list[LoadedTrick]:
    return [trick for trick in catalogue.load_all() if not isinstance(trick, AblateError)]


def _as_json(trick: LoadedTrick, others: list[LoadedTrick]) -> dict[str, object]:
    return {
        "name": trick.name,
        "summary": facts.summary(trick.cls),
        "citation": facts.citation(trick.cls),
        "hooks": [hook.removesuffix(" *") for hook in facts.hooks(trick.cls)],
        "replaces": [h.removesuffix(" *") for h in facts.hooks(trick.cls) if h.endswith(" *")],
        "from": trick.source,
        "bundled": trick.bundled,
        "behaviour": trick.behaviour,
        "parameters": trick.cls.model_json_schema().get("properties", {}),
        "together": facts.together(trick, others),
    }
