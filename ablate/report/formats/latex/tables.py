"""Tables in LaTeX, for a paper: they need `booktabs` and nothing else.

The caption says n, interval, correction and degrees of freedom; verdicts are words. As in print, a
table has what its question asks for: row, metric, Δ, verdict; `columns="all"` adds the other
columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from ablate.report import captions, numbers
from ablate.report.formats import blocks as below
from ablate.report.formats import columns as parts
from ablate.report.formats import costs, transposed
from ablate.report.formats import published_columns as published_columns
from ablate.report.formats.latex.layout import Field, Sheet, field, source
from ablate.report.formats.latex.text import comment, latex, number, prose
from ablate.report.model import Block, ReportTable

_NEEDS = "% needs \\usepackage{booktabs}"
_ROOT = "√(error/2N)"


def render_latex(tables: Sequence[ReportTable], *, columns: costs.Shown = "auto") -> str:
    """A `table` for every table and block; the text ends in a newline."""
    studies = captions.by_study(tables)
    found = [_NEEDS, *(f"% {comment(note)}" for note in captions.notes(tables))]
    labels: set[str] = set()
    for study in studies:
        if len(studies) > 1:
            found += ["", f"% {comment(captions.study_title(study))}"]
        alone = len(tables) == 1
        for sheet in _sheets(study, columns, alone=alone):
            label = next(name for name in _numbered(sheet.label) if name not in labels)
            labels.add(label)
            found += ["", source(replace(sheet, label=label))]
    return "\n".join(found) + "\n"


def _sheets(tables: Sequence[ReportTable], shown: costs.Shown, *, alone: bool) -> Iterator[Sheet]:
    for group in transposed.groups(tables):
        if shown == "cost":
            yield from (_cost(table, alone) for table in group)
            continue
        if group[0].paper:
            yield from (_with_paper(table, alone) for table in group)
        elif group[0].transpose:
            yield _transposed(group, alone)
        else:
            yield _plain(group[0], shown, alone)
        yield from (_block(block, table, alone) for table in group for block in table.blocks)


def _plain(table: ReportTable, shown: costs.Shown, alone: bool) -> Sheet:
    rows = table.judged
    blank = [""] if table.total else []
    means = [parts.mean_text(row, table, with_sd=True) for row in table.rows]
    found = [_names(table), Field((table.metric.label,), (*means, *blank))]
    level = numbers.level(table)
    if transposed.judged([table]):
        if table.one_seed:
            deltas = [numbers.delta(row.delta, table) for row in table.rows]
            found.append(Field(("Δ",), tuple(deltas)))
            bands = tuple(_word(parts.band_text(row, table)) for row in table.rows)
            head = f"re-run noise ({level} band)"
            found.append(Field((head,), bands, "word", joined=True))
        else:
            head = f"Δ [{level}]" if table.df is not None else "Δ"
            found.append(Field((head,), tuple(numbers.delta_texts(table, [r.delta for r in rows]))))
            if table.has_verdicts:
                verdicts = tuple(map(_verdict, rows))
                found.append(Field(("verdict",), verdicts, "word", joined=True))
    if shown == "all":
        found += _others(table)
    found += [Field((name,), (*texts, *blank)) for name, texts in costs.cells(table, shown)]
    facts = [f"{costs.MODEL_FACT}."] if costs.cells(table, shown) else []
    return Sheet(
        tuple(found),
        (*_caption(table), *map(latex, facts)),
        _label([table], alone),
        _command(table),
        _notes([table]),
        footer=1 if table.total else 0,
    )


def _others(table: ReportTable) -> list[Field]:
    """The columns that a printed table leaves out unless asked."""
    blank = ("",) if table.total else ()
    found = []
    if table.has_base:
        bases = numbers.delta_texts(table, [row.base for row in table.rows])
        level = "" if table.one_seed else f" [{numbers.level(table)}]"
        found.append(Field((f"Δ baseline{level}",), (*bases, *blank)))
    if table.secondary:
        texts = [numbers.secondary(row.secondary, table) for row in table.rows]
        found.append(Field((table.secondary.heading,), (*texts, *blank)))
    return [*found, *_times(table)]


def _times(table: ReportTable) -> list[Field]:
    clock = numbers.Clock.of(row.seconds for row in table.rows)
    blank = ("",) if table.total else ()
    times = tuple(parts.time_text(row, clock) for row in table.rows)
    found = [Field(("time/epoch",), (*times, *blank))]
    texts = numbers.ratios([row.ratio for row in table.judged], intervals=True)
    if any(texts):
        level = f" {captions.RATIO_LEVEL}" if captions.ratio_intervals(table) else ""
        found.append(Field((f"ratio{level}",), tuple(texts)))
    return found


def _cost(table: ReportTable, alone: bool) -> Sheet:
    found = [_names(table)]
    blank = ("",) if table.total else ()
    found += [Field((name,), (*texts, *blank)) for name, texts in costs.cells(table, "cost")]
    means = [parts.mean_text(row, table, with_sd=True) for row in table.rows]
    found += [*_times(table), Field((table.metric.label,), (*means, *blank))]
    facts = [f"{fact}." for fact in costs.facts(table)]
    return Sheet(
        tuple(found),
        (f"{_measured(table)} Cost of training.", *map(latex, facts)),
        _label([table], alone, "cost"),
        _command(table, "--columns cost"),
        tuple(map(prose, (*table.notes, *table.failures))),
        footer=1 if table.total else 0,
    )


def _with_paper(table: ReportTable, alone: bool) -> Sheet:
    """Published figures beside the measured ones; marks and what differs stand below."""
    assert table.paper
    fields = [
        field(column, name=i == 0) for i, column in enumerate(published_columns.columns(table))
    ]
    fields[0] = replace(fields[0], heads=("row",))  # the data set is in the caption
    fields = [
        replace(each, heads=("in our", "interval")) if each.heads[-1] == "our interval" else each
        for each in fields
    ]
    bare = replace(table, total=None)  # which is not among the rows shown
    said = (*table.paper.footnotes, table.paper.differs)
    return Sheet(
        tuple(fields),
        (*_caption(bare), f"Beside it what arXiv {latex(table.paper.arxiv)} printed."),
        _label([table], alone, "paper"),
        _command(table, "--compare paper"),
        (*_notes([bare]), *map(prose, said)),
    )


def _transposed(group: Sequence[ReportTable], alone: bool) -> Sheet:
    first = group[0]
    made = transposed.columns(group)
    fields = [field(column, name=i == 0) for i, column in enumerate(made)]
    fields[0] = replace(fields[0], heads=("",))
    caption = [_measured(first, dataset_only=True)]
    if first.one_seed:
        caption.append(_one_seed(max((captions.one_seed(table) for table in group), key=len)))
    elif any(table.df is not None for table in group):
        level = latex(numbers.level(first))
        caption.append(f"$\\Delta$ with {level} interval, moderated by the noise of each line.")
        caption.append("Verdicts Holm-corrected within each line.")
        caption.append(_equivalent(first))
    return Sheet(
        tuple(fields), tuple(caption), _label(group, alone), _command(first), _notes(group)
    )


def _block(block: Block, table: ReportTable, alone: bool) -> Sheet:
    found = [Field(("",), tuple(line.label for line in block.lines), "name")]
    for j in range(len(block.heads)):
        texts = tuple(below.cell_texts(block, j, table))
        found.append(Field((below.heading(block, j, table),), texts))
        if j != below.judged_column(block):
            continue
        if below.has_verdicts(block):
            verdicts = tuple(map(_verdict, block.lines))
            found.append(Field(("verdict",), verdicts, "word", joined=True))
        if below.has_words(block):
            said = tuple(line.word for line in block.lines)
            found.append(Field(("",), said, "word", joined=True))
    where = prose(", ".join(_where(table)))
    title = prose(below.title(block, table))
    caption = [f"{where}: {title}, {_n(table)}.", *map(prose, block.caption)]
    notes = [latex(note) for note in [below.dagger(block)] if note]
    label = _label([table], alone, block.name)
    return Sheet(tuple(found), tuple(caption), label, _command(table), tuple(notes))


def _names(table: ReportTable) -> Field:
    labels = [row.label for row in table.rows] + ([table.total.label] if table.total else [])
    return Field(("row",), tuple(labels), "name")


def _verdict(row: parts.Judged) -> str:
    return f"{row.verdict}{' †' if row.dagger else ''}"


def _word(text: str) -> str:
    """A verdict or a band without its mark."""
    return re.sub(r"^[▲▼⊕⊖■○…↯∅] ", "", text)


def _where(table: ReportTable) -> list[str]:
    return [part for part in (table.study, table.ablation, captions.title(table)) if part]


def _n(table: ReportTable) -> str:
    seeds = len(table.seeds)
    return f"$n={seeds}$ {'seed' if seeds == 1 else 'seeds'}"


def _measured(table: ReportTable, *, dataset_only: bool = False) -> str:
    """ "group1, imagenette: top-1 (\\%), mean $\\pm$ sd, $n=3$ seeds, last of 20 epochs." """
    where = [table.study, table.ablation, table.dataset] if dataset_only else _where(table)
    unit = f" ({prose(table.metric.unit)})" if table.metric.unit else ""
    spread = "" if table.one_seed else "mean $\\pm$ sd, "
    epochs = table.provenance.epochs
    last = f"last of {numbers.count(epochs, 'epoch')}" if epochs else "last epoch"
    name = prose(", ".join(part for part in where if part))
    return f"{name}: {prose(table.metric.label)}{unit}, {spread}{_n(table)}, {last}."


def _caption(table: ReportTable) -> list[str]:
    said = [_measured(table)]
    if table.one_seed:
        return [*said, _one_seed(captions.one_seed(table))]
    against = f"$\\Delta$ to {prose(captions.reference_row(table))}"
    if table.df is not None:
        level, inner = latex(numbers.level(table)), numbers.count(table.comparisons, "comparison")
        said.append(f"{against} with {level} interval, moderated $t$, {numbers.degrees(table)} df.")
        if table.total:
            said.append("Last line: $\\Delta$ to the baseline.")
        if table.comparisons:
            said += [f"Verdicts Holm-corrected, {inner}.", _equivalent(table)]
        if table.comparisons and table.detectable is not None:
            seen = captions.could_see(table) or ""
            said.append(f"Differences from about {number(seen)} could be seen with 80\\% power.")
        if looked := captions.looks(table):
            said.append(prose(looked))
    elif table.compares:
        said.append(f"{against} over the same seeds.")
        if table.exact_agreement:
            said.append("No interval: the seeds agree exactly, so the noise is unknown.")
    return said


def _equivalent(table: ReportTable) -> str:
    if not table.margin:
        said = captions.equivalent(table)
        return prose(f"{said[:1].upper()}{said[1:]}.")
    inner = latex(numbers.inner_level(table))
    margin = number(f"±{numbers.plain(table.margin)}") + table.metric.points
    return f"Equivalent: {inner} interval within {margin}."


def _one_seed(said: str) -> str:
    before, root, after = said.partition(_ROOT)
    middle = "$\\sqrt{\\mathrm{error}/2N}$" if root else ""
    rest = latex(after.replace('"Outside"', "“Outside”")).replace("N = ", "$N$ = ")
    return number(before) + middle + rest


def _notes(tables: Sequence[ReportTable]) -> tuple[str, ...]:
    found = [note for table in tables if (note := captions.dagger(table))]
    found += [line for table in tables for line in (*table.notes, *table.failures)]
    return tuple(prose(note) for note in dict.fromkeys(found))


def _label(tables: Sequence[ReportTable], alone: bool, more: str = "") -> str:
    """ "tab:group1", and what tells it from the others of its study."""
    first = tables[0]
    words_ = [first.study, *([] if alone else [first.ablation, first.dataset])]
    words_ += [] if alone or len(tables) > 1 else [first.column]
    slugs = (re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in (*words_, more))
    return "tab:" + ("-".join(slug for slug in slugs if slug) or "table")


def _numbered(label: str) -> Iterator[str]:
    """ "tab:a", "tab:a-2", "tab:a-3", …"""
    yield label
    yield from (f"{label}-{i}" for i in count(2))


# A report finds the looks that were made: it has no such options.
_ONLY_RUN = re.compile(r" --until resolved| --max-seeds \d+")


def _command(table: ReportTable, more: str = "") -> str:
    asked = table.provenance.command.replace("ablate run", "ablate report", 1)
    asked = _ONLY_RUN.sub("", asked)
    return comment(" ".join(part for part in (asked, more, "--format latex") if part))
