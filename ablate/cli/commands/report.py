"""`ablate report`: the comparison table of what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ablate.cli.app import command
from ablate.cli.options import Datasets, Limit, Options, Seeds, Settings, path
from ablate.cli.selection import Selection
from ablate.console.terminal import DEFAULT_WIDTH
from ablate.errors import AblateError
from ablate.report.options import Asked
from ablate.util.files import write_result

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.report.formats.costs import Shown
    from ablate.report.model import ReportTable
    from ablate.report.options import Asked
    from ablate.session.lookup import Found
    from ablate.store.store import Store

HELP = """\
Print the comparison table of what is trained so far: of studies, or the latest of every one.

Usage: ablate report [STUDY …] [options]
Example    ablate report studies/group1.toml --format html -o report.html

STUDY is a file, or the name of a stored study as its last run had it.

Output     --format NAME        terminal, markdown, html, latex, csv, json, parquet
           -o FILE              write it there; the format is as FILE ends: .html, .tex, .md, …
           --methods            the paragraphs on methods for a paper, in markdown or latex
           --columns auto|all   drop columns where the terminal is narrow, or never [default: auto]
           --columns cost       parameters, multiply-adds, images per second and time instead
           --compare paper      beside each row what He et al. printed, and what differs
Question   --metric NAME        compare that metric instead: top5, loss, ece, any that was measured
           --baseline ROW       compare every row with this one: its label or number
           --new-images         intervals for new test images too, not for this test set alone
           --per-class          accuracy of each class and how each row changes it
           --mcnemar            of one seed: exact test of the two checkpoints, not of the recipes
What       --seeds N            as for run: the tables of those trials, of each STUDY
           --dataset NAME
           --limit N
           --set KEY=VALUE
Where      --store DIR          [env: ABLATE_STORE] [default: ablate-results]
"""


@command("report", HELP)
def report(
    options: Options,
    studies: Annotated[list[str] | None, typer.Argument(metavar="STUDY")] = None,
    format_: Annotated[str | None, typer.Option("--format")] = None,
    file: Annotated[Path | None, typer.Option("--output", "-o", parser=path)] = None,
    columns: Annotated[str, typer.Option("--columns")] = "auto",
    compare: Annotated[str | None, typer.Option("--compare")] = None,
    metric: Annotated[str | None, typer.Option("--metric")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline")] = None,
    new_images: Annotated[bool, typer.Option("--new-images")] = False,
    per_class: Annotated[bool, typer.Option("--per-class")] = False,
    mcnemar: Annotated[bool, typer.Option("--mcnemar")] = False,
    methods: Annotated[bool, typer.Option("--methods")] = False,
    seeds: Seeds = None,
    dataset: Datasets = None,
    limit: Limit = None,
    settings: Settings = None,
) -> None:
    """Print it."""
    from ablate.report import check_format, content, format_of, render_methods
    from ablate.store.store import Store

    output = options.output()
    if columns not in ("auto", "cost", "all"):
        raise AblateError(f"--columns '{columns}': known: auto, cost, all", hint="--columns all")
    kind = "json" if output.json else format_ or format_of(file)
    check_format(kind, file=file is not None)
    if file is not None:
        _check_target(file)
    if compare is not None:
        from ablate.report.published.attach import check_name

        check_name(compare)
        if baseline is not None:
            from ablate.report.tables.baseline import two_references

            raise two_references()
    store = Store.open(options.store_path, create=False)
    selections = [
        Selection.of(study, seeds, dataset, limit, settings, options)
        for study in _once(studies or [])
    ]
    if not selections and not Selection.of("", seeds, dataset, limit, settings).whole:
        raise AblateError(
            "--seeds, --dataset, --limit and --set need a study", hint="ablate report STUDY …"
        )
    found = [one for selection in selections for one in _found(selection, store, options)]
    found = found or _every(store)
    _refuse_two_of_a_name(found, selections)
    asked = Asked(
        metric=metric,
        baseline=baseline,
        new_images=new_images,
        per_class=per_class,
        mcnemar=mcnemar,
    )
    found, groups = _answers(found, store, asked, output, printed=compare is None)
    if compare is not None:
        groups = _beside_paper(found, groups, store, asked, output)
    every = [table for tables in groups for table in tables]
    if methods:
        made: str | bytes = render_methods(every, "markdown" if kind == "terminal" else kind)
    elif kind == "terminal":
        made = _terminal(every, output, columns, plain=file is not None)
    else:
        made = content(kind, every, columns=cast("Shown", columns), epochs=store.epochs)
    if kind in ("csv", "parquet", "latex"):  # which have no place for them, or none that is seen
        from ablate.report.captions import notes

        for note in notes(every):
            output.warn(note)
    for one in found:
        for name in one.left_out:
            output.note(f"{one.resolved.name}: nothing of {name} is trained yet")
    if file is None:
        if output.quiet < 2 and isinstance(made, str):
            drawn = kind == "terminal" and not methods
            output.drawn(made) if drawn else output.raw(made)
        return

    write_result(file, made)
    output.note(f"Wrote {file}.")


def _check_target(file: Path) -> None:
    """A report may replace a report: never a study, a trick, or what a store consists of."""
    place = file.absolute()
    refused = file.suffix in (".toml", ".py") and file.exists()
    for folder in place.parents:
        if (folder / "FORMAT").is_file() and (folder / "trials").is_dir():
            first = place.relative_to(folder).parts[0]
            refused |= first in ("FORMAT", "trials", "studies", "looks", ".gitignore")
            refused |= first.startswith("results.duckdb")
    if refused:
        raise AblateError(f"{file} is no report, and is not replaced by one", hint="-o report.html")


def _answers(
    found: list[Found], store: Store, asked: Asked, output: Output, *, printed: bool
) -> tuple[list[Found], list[list[ReportTable]]]:
    """Of several studies those that have what is asked; of one, a refusal is an error."""
    from ablate.session.judged_tables import tables_of

    kept: list[Found] = []
    groups: list[list[ReportTable]] = []
    for one in found:
        try:
            groups.append(tables_of(one.resolved, store, asked, printed=printed))
        except AblateError as error:
            if one is found[-1] and not kept:
                raise
            output.note(f"{one.resolved.name}: {error.message}")
        else:
            kept.append(one)
    return kept, groups


def _once(names: list[str]) -> list[str]:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise AblateError(f"{name} is named twice", hint="name each study once")
    return names


def _refuse_two_of_a_name(found: list[Found], selections: list[Selection]) -> None:
    """Two files may hold studies of one name, whose tables nobody could tell apart."""
    names: dict[str, str] = {}
    for one, selection in zip(found, selections, strict=False):
        name = one.resolved.name
        if name in names:
            raise AblateError(
                f"{names[name]} and {selection.file} are both the study {name}",
                hint="name each study once, or report them one by one",
            )
        names[name] = selection.file


def _beside_paper(
    found: list[Found],
    groups: list[list[ReportTable]],
    store: Store,
    asked: Asked,
    output: Output,
) -> list[list[ReportTable]]:
    """The tables with the paper's figures: a look only now, since what is refused prints none."""
    from ablate.report.captions import title
    from ablate.report.published.attach import beside_paper, nothing_published
    from ablate.session.judged_tables import tables_of

    groups = [beside_paper(one.resolved, tables) for one, tables in zip(found, groups, strict=True)]
    every = [table for tables in groups for table in tables]
    if not any(table.paper for table in every):
        raise nothing_published([one.resolved.name for one in found])
    for table in every:
        if not table.paper:
            name = " ".join(part for part in (table.ablation, title(table)) if part)
            output.note(f"{table.study}: the paper has no row of {name}")
    return [beside_paper(one.resolved, tables_of(one.resolved, store, asked)) for one in found]


def _found(selection: Selection, store: Store, options: Options) -> list[Found]:
    from ablate.session.lookup import from_file, from_store

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
    from ablate.session.lookup import from_store

    names = store.studies()
    if not names:
        raise AblateError(f"nothing is stored in {store.path}", hint="ablate run STUDY trains one")
    return [from_store(name, store) for name in names]


def _terminal(tables: list[ReportTable], output: Output, columns: str, *, plain: bool) -> str:
    from ablate.report import render_terminal

    terminal = output.out
    return render_terminal(
        tables,
        width=DEFAULT_WIDTH if plain else terminal.width,
        color=terminal.color and not plain,
        ascii=not terminal.unicode and not plain,
        columns=cast("Shown", columns),
    )
