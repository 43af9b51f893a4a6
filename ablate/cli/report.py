"""`ablate report`: the comparison table of what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ablate.cli.app import command
from ablate.cli.options import Datasets, Limit, Options, Seeds, Settings
from ablate.cli.selection import Selection

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.lookup import Found
    from ablate.report.costs import Shown
    from ablate.report.model import ReportTable
    from ablate.store import Store

HELP = """\
Print the comparison table of what is trained so far: of a study, or the latest of every one.

Usage: ablate report [STUDY] [options]
Example    ablate report studies/group1.toml --format markdown -o report.md

STUDY is a file, or the name of a stored study as its last run had it.

Output     --format NAME        terminal, markdown, csv, json [default: as FILE ends, else terminal]
           -o FILE              write it there instead of stdout
           --columns auto|all   drop columns where the terminal is narrow, or never [default: auto]
           --columns cost       parameters, multiply-adds, images per second and time instead
           --compare paper      beside each row what He et al. printed, and what differs
What       --seeds N            as for run: the table of those trials
           --dataset NAME
           --limit N
           --set KEY=VALUE
Where      --store DIR          [env: ABLATE_STORE] [default: ablate-results]
"""


@command("report", HELP)
def report(
    options: Options,
    study: Annotated[str | None, typer.Argument(metavar="STUDY")] = None,
    format_: Annotated[str | None, typer.Option("--format")] = None,
    file: Annotated[Path | None, typer.Option("--output", "-o")] = None,
    columns: Annotated[str, typer.Option("--columns")] = "auto",
    compare: Annotated[str | None, typer.Option("--compare")] = None,
    seeds: Seeds = None,
    dataset: Datasets = None,
    limit: Limit = None,
    settings: Settings = None,
) -> None:
    """Print it."""
    from ablate.errors import AblateError
    from ablate.lookup import tables_of
    from ablate.report import check_format, format_of, render
    from ablate.store import Store

    output = options.output()
    if columns not in ("auto", "cost", "all"):
        raise AblateError(f"--columns '{columns}': known: auto, cost, all")
    kind = "json" if output.json else format_ or format_of(file)
    check_format(kind)
    if compare is not None:
        from ablate.report.published import check_name

        check_name(compare)
    store = Store.open(options.store_path, create=False)
    selection = Selection.of(study or "", seeds, dataset, limit, settings, options)
    if study is None and not selection.whole:
        raise AblateError(
            "--seeds, --dataset, --limit and --set need a study", hint="ablate report STUDY …"
        )
    found = _found(selection, store, options) if study else _every(store)
    groups = [tables_of(one.resolved, store) for one in found]
    if compare is not None:
        groups = _beside_paper(found, groups, output)
    if kind == "terminal":
        text = _terminal(found, groups, output, columns, plain=file is not None)
    else:
        every = [table for tables in groups for table in tables]
        text = render(kind, every, columns=cast("Shown", columns))
    for one in found:
        for name in one.left_out:
            output.note(f"{one.resolved.name}: nothing of {name} is trained yet")
    if file is None:
        if output.quiet < 2:
            output.raw(text)
        return
    from ablate.files import write_result

    write_result(file, text)
    output.note(f"Wrote {file}.")


def _beside_paper(
    found: list[Found], groups: list[list[ReportTable]], output: Output
) -> list[list[ReportTable]]:
    from ablate.report.published import beside_paper, nothing_published
    from ablate.report.words import title

    groups = [beside_paper(one.resolved, tables) for one, tables in zip(found, groups, strict=True)]
    every = [table for tables in groups for table in tables]
    if not any(table.paper for table in every):
        raise nothing_published([one.resolved.name for one in found])
    for table in every:
        if not table.paper:
            name = " ".join(part for part in (table.ablation, title(table)) if part)
            output.note(f"{table.study}: the paper has no row of {name}")
    return groups


def _found(selection: Selection, store: Store, options: Options) -> list[Found]:
    from ablate.lookup import from_file, from_store

    name = selection.file
    is_file = name.endswith(".toml") or Path(name).is_file()
    if not is_file and name in store.studies() and selection.whole:
        return [from_store(name, store)]
    if not is_file and selection.whole and not _shipped(name):
        return [from_store(name, store)]  # which says what there is
    return [
        from_file(
            selection.load(bundled_only=options.no_plugins),
            store,
            data_root=options.data,
            command=selection.command("report"),
            places=selection.places,
            seeds_asked=selection.seeds is not None,
        )
    ]


def _shipped(name: str) -> bool:
    from ablate.study import shipped_studies

    return name in shipped_studies()


def _every(store: Store) -> list[Found]:
    from ablate.errors import AblateError
    from ablate.lookup import from_store

    names = store.studies()
    if not names:
        raise AblateError(f"nothing is stored in {store.path}", hint="ablate run STUDY trains one")
    return [from_store(name, store) for name in names]


def _terminal(
    found: list[Found],
    groups: list[list[ReportTable]],
    output: Output,
    columns: str,
    *,
    plain: bool,
) -> str:
    from ablate.console.terminal import DEFAULT_WIDTH
    from ablate.report import render_terminal

    terminal = output.out
    parts = []
    for one, tables in zip(found, groups, strict=True):
        text = render_terminal(
            tables,
            width=DEFAULT_WIDTH if plain else terminal.width,
            color=terminal.color and not plain,
            ascii=not terminal.unicode and not plain,
            columns=cast("Shown", columns),
        )
        if len(found) > 1:
            title = f"{one.resolved.name} · {one.resolved.headline}"
            title = title if plain else output.shown(title, terminal)
            bold = terminal.color and not plain
            text = (f"\x1b[1m{title}\x1b[0m" if bold else title) + "\n\n" + text
        parts.append(text)
    return "\n".join(parts)
