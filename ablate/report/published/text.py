"""What stands below a table with published figures: marks, sources, and what differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.report import captions, numbers
from ablate.report.captions import short_device
from ablate.report.model import ReportTable
from ablate.report.numbers import count
from ablate.report.published.data import Line, Publication, PublishedCell, Source
from ablate.report.published.match import Step, Whole, baseline_recipe, baseline_row, row_tricks

MARKS: dict[Source, str] = {"text": "", "repeated": "§", "recall": "°"}
OTHER_QUESTION = "‡"

_SAID: dict[Source, str] = {
    "recall": "° known figure, not read in the paper's text",
    "repeated": "§ known figure, the same in an independent public source",
}
_DATASETS = {
    "imagenet": "ImageNet",
    "imagenette": "Imagenette",
    "imagewoof": "Imagewoof",
    "places365": "Places365",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}
_VARIANT_D = frozenset({"resnet_b", "resnet_c", "resnet_d"})


def title(table: ReportTable) -> str:
    """The data set and the column as it is said: "imagenette, batch 1024"."""
    found = re.sub(r"\bbatch_size (?=\d)", "batch ", captions.title(table))
    # a model's name says what it is, and its image size is among what differs
    return re.sub(r"(?<=, )model (\S+?), image_size \d+$|(?<=, )model (?=\S+$)", r"\1", found)


def other_question(table: ReportTable, cell: PublishedCell, row: int) -> bool:
    """Whether the published Δ and the row's own are answers to different questions."""
    return cell.delta is not None and table.rows[row].delta is not None and cell.asked != "row"


def footnotes(
    publication: Publication, table: ReportTable, steps: Sequence[Step]
) -> tuple[str, ...]:
    """Marks and sources; then a line for each kind of comparison that is not like with like."""
    cells = {i: row.published for i, row in enumerate(table.rows) if row.published}
    shown = {cell.source for cell in cells.values()}
    shown |= {cell.cost_source for cell in cells.values() if cell.gmacs is not None}
    shown |= {cell.minutes_source for cell in cells.values() if cell.minutes is not None}
    facts = [said for source, said in _SAID.items() if source in shown]
    numbers = sorted({cell.table for cell in cells.values()})
    arxiv = f"arXiv {publication.arxiv}"
    where = f"{arxiv} table {numbers[0]}" if not steps else arxiv
    found = [" · ".join([*facts, f"paper: one run, no interval, {where}"])]
    if steps:
        stacks = dict.fromkeys(
            _stack(step) for step in sorted(steps, key=lambda step: step.published.number)
        )
        found.append(f"The paper's Δ of a trick is from another stack: {', '.join(stacks)}.")
    if any(step.negated for step in steps):
        found.append(
            "These rows leave a trick out: the paper's Δ of adding it stands with its sign turned."
        )
    apart = {i: cell for i, cell in cells.items() if other_question(table, cell, i)}
    said: dict[str, list[str]] = {}
    for i, cell in apart.items():
        said.setdefault(_apart(table, i, cell), []).append(table.rows[i].label)
    found += [f"{OTHER_QUESTION} {' and '.join(rows)}: {why}" for why, rows in said.items()]
    return tuple(found)


def _stack(step: Step) -> str:
    column = step.published.columns[step.column]
    said = f"table {step.published.number}"
    if column.model != column.label:
        said += f" at {column.label}"
    return f"{said} on {column.model}"


def _apart(table: ReportTable, i: int, cell: PublishedCell) -> str:
    row = table.rows[i]
    assert row.delta is not None
    theirs = f"the paper's Δ is to {cell.against}"
    ours = numbers.delta_texts(table, [row.base])[0] if cell.asked == "baseline" else ""
    if ours:
        return f"{theirs}; ours to {table.rows[table.baseline].label} is {ours}"
    return f"{theirs}, ours to {table.rows[row.delta.reference].label}: another question"


def first_row(publication: Publication, resolved: ResolvedStudy, table: Table) -> str:
    """The baseline's label without what the paper's first rows have too and do not name."""
    row = table.rows[baseline_row(table)]
    bundles: dict[str, set[str]] = {}
    for spec in resolved.trials[row.keys[0]].tricks:
        bundles.setdefault(spec.bundle or spec.label, set()).add(spec.name)
    parts = row.label.split(" + ")
    kept = [part for part in parts if not bundles.get(part, {part}) <= publication.recipe]
    return " + ".join(kept) or row.label


def differs(
    publication: Publication,
    resolved: ResolvedStudy,
    table: Table,
    report: ReportTable,
    lines: Mapping[int, Line],
    found: Whole | None,
) -> str:
    """ "Differs: Imagenette 160 px, 20 epochs / ImageNet 224 px, 120 epochs." : ours / the paper's.

    lines: the published row of each measured one. found: None for single tricks, whose batch sizes
    and models the footnotes tell.
    """
    recipe = baseline_recipe(resolved, table)
    column = found.published.columns[found.column] if found else None
    dataset = found.published.dataset if found else publication.dataset
    pixels = column.px if column else 224
    ours, theirs = _data(resolved, table), f"{_DATASETS[dataset]} {pixels} px"
    pairs: list[tuple[str, str]] = [(ours, theirs)]
    recipes = {i: resolved.trials[table.rows[i].keys[0]].recipe for i in lines}
    if column:
        known = recipe.model in column.models
        pairs.append((recipe.model, recipe.model if known else column.model))
        batches = [(recipes[i].batch_size, line) for i, line in lines.items()]
        printed = [(line.batch_size or column.batch_size, line) for line in lines.values()]
        pairs.append(
            (
                "batch " + _with(recipe.batch_size, batches),
                "batch " + _with(column.batch_size, printed),
            )
        )
    stated = {i: line for i, line in lines.items() if line.epochs != 0}
    epochs = [(recipes[i].epochs, line) for i, line in stated.items()]
    printed = [(line.epochs or publication.epochs, line) for line in stated.values()]
    pairs.append(
        (
            _with(recipe.epochs, epochs, "epoch"),
            _with(publication.epochs, printed, "epoch"),
        )
    )
    if found:
        pairs += _starts(publication, resolved, table, found)
    pairs += _params(publication, resolved, table, lines)
    runs = count(len(report.seeds), "seed")
    pairs.append((runs if len(report.seeds) > 1 else "", ""))
    machines = [
        short_device(name) if number == 1 else f"{number} × {short_device(name)}"
        for number, name in report.provenance.machines
    ]
    pairs.append((", ".join(machines), publication.hardware))
    sides = [[pair[side] for pair in pairs if pair[0] != pair[1]] for side in (0, 1)]
    left, right = (", ".join(part for part in side if part) for side in sides)
    return f"Differs: {left} / {right}." if left or right else "Differs: nothing that is recorded."


def _data(resolved: ResolvedStudy, table: Table) -> str:
    """ "Imagenette 160 px", "digits 16 px, 100 images a split"."""
    trial = resolved.trials[table.rows[baseline_row(table)].keys[0]]
    name = _DATASETS.get(table.dataset, table.dataset)
    said = f"{name} {trial.recipe.image_size} px" if trial.recipe.image_size else name
    limit = trial.dataset.limit
    return f"{said}, {limit:,} images a split" if limit else said


def _with(usual: int, others: Iterable[tuple[int, Line]], unit: str = "") -> str:
    """ "120 epochs (200 with mixup)": what most rows have, and those that have something else."""
    said = count(usual, unit) if unit else str(usual)
    apart: dict[int, list[Line]] = {}
    for value, line in others:
        if value != usual:
            apart.setdefault(value, []).append(line)
    for value, found in apart.items():
        shared = found[0].adds.intersection(*(line.adds for line in found))
        names = {line.step for line in found}
        name = names.pop() if len(names) == 1 else " + ".join(sorted(shared))
        said += f" ({value} with {name})" if name else f" ({value} in some rows)"
    return said


def _starts(
    publication: Publication, resolved: ResolvedStudy, table: Table, found: Whole
) -> list[tuple[str, str]]:
    """What the first rows have, where it is not the same tricks."""
    column = found.published.columns[found.column]
    row = table.rows[baseline_row(table)]
    ours = row_tricks(resolved, row)
    if resolved.trials[row.keys[0]].recipe.model.endswith("_d"):
        ours |= _VARIANT_D
    pairs = []
    if ours - publication.recipe != column.base:
        label = row.label if row.tricks else "without tricks"
        pairs.append((f"first row {label}", f"first row {column.start}"))
    if missing := sorted(publication.recipe - ours):
        pairs.append((f"without {' + '.join(missing)}", ""))
    return pairs


def _params(
    publication: Publication, resolved: ResolvedStudy, table: Table, lines: Mapping[int, Line]
) -> list[tuple[str, str]]:
    """Parameters of tricks that the paper states and the study sets otherwise."""
    found: dict[tuple[str, str], None] = {}
    for i in lines:
        for spec in resolved.trials[table.rows[i].keys[0]].tricks:
            for name, value in publication.params.get(spec.name, {}).items():
                if spec.params.get(name, value) != value:
                    ours, theirs = (_said(x) for x in (spec.params[name], value))
                    said = f"{spec.label} {name} "
                    found[said + ours, f"{spec.name} {name} {theirs}"] = None
    return list(found)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
