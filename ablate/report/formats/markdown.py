"""Tables in markdown: every column, captions as paragraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ablate.report import captions, numbers
from ablate.report.formats import blocks as below
from ablate.report.formats import columns as parts
from ablate.report.formats import costs, transposed
from ablate.report.formats import published_columns as published_columns
from ablate.report.formats.escape import code, markdown, paragraph
from ablate.report.model import Block, Comparison, ReportRow, ReportTable, Total


def render_markdown(tables: Sequence[ReportTable], *, columns: costs.Shown = "auto") -> str:
    """Every table with its title and captions; the text ends in a newline.

    Several studies stand below a heading each, and what must not be compared between them at the
    end.

    columns: parameters and multiply-adds stand where rows differ in them ("auto"), or all columns
    of cost beside the others ("all"), or alone ("cost").
    """
    studies = captions.by_study(tables)
    blocks: list[str] = []
    for study in studies:
        if len(studies) > 1:
            blocks.append(f"## {markdown(study[0].study)}")
            blocks += [paragraph(said)] if (said := captions.recipe(study)) else []
        blocks += _study(study, columns)
    return "\n\n".join([*blocks, *map(paragraph, captions.notes(tables))]) + "\n"


def _study(tables: Sequence[ReportTable], columns: costs.Shown) -> list[str]:
    blocks: list[str] = []
    for group in transposed.groups(tables):
        if group[0].paper:
            blocks += [
                _cost(table)
                if columns == "cost" and not published_columns.costs(table)
                else _with_paper(table)
                for table in group
            ]
        elif columns == "cost":
            blocks += map(_cost, group)
        elif group[0].transpose:
            blocks.append(_transposed(group))
        else:
            blocks.append(_table(group[0], columns))
        if columns != "cost":
            blocks += [_block(block, table) for table in group for block in table.blocks]
    return blocks


def _table(table: ReportTable, shown: costs.Shown) -> str:
    heads, rows = _grid(table)
    notes = []
    if shown == "all" and captions.knows_wins(table):
        heads.append(f"wins a new seed [{numbers.level(table)}]")
        for cells, asked in zip(rows, table.judged, strict=True):
            cells.append(numbers.wins(asked.delta.wins if asked.delta else None))
        notes.append(markdown(captions.wins(table)))
    if more := costs.cells(table, shown):
        heads += [name for name, _ in more]
        for i, row in enumerate(rows):  # the total, last, has no model of its own
            row += [texts[i] if i < len(texts) else "" for _, texts in more]
        notes.append(f"{costs.MODEL_FACT}.")
    return "\n\n".join([_title(table), _pipes(heads, rows), *notes, *_captions([table])])


def _with_paper(table: ReportTable) -> str:
    """Published figures beside the measured ones; which is which stands in the caption."""
    heads, rows = published_columns.grid(table)
    captions = [*published_columns.paper_captions(table), *_captions([replace(table, total=None)])]
    return "\n\n".join([_title(table), _pipes(heads, rows), *captions])


def _cost(table: ReportTable) -> str:
    """The cost alone, and the metric it bought."""
    found = costs.cells(table, "cost")
    heads = ["row", *(name for name, _ in found), "time/epoch", markdown(table.metric.heading)]
    clock = numbers.Clock.of(row.seconds for row in table.rows)
    rows = []
    for i, row in enumerate(table.rows):
        mean = parts.mean_text(row, table, with_sd=True).replace("±", "± ")
        rows.append([markdown(row.label), *(t[i] for _, t in found), _time(row, clock), mean])
    if table.total:
        blank = [""] * len(found)
        rows.append([f"**{markdown(table.total.label)}**", *blank, _total_time(table.total), ""])
    notes = [paragraph(line) for line in (*table.notes, *table.failures)]
    caption = " ".join(
        [*(f"{fact}." for fact in costs.facts(table)), captions.measured(_escaped(table))]
    )
    return "\n\n".join([_title(table), _pipes(heads, rows), *notes, caption, _source(table)])


def _grid(table: ReportTable) -> tuple[list[str], list[list[str]]]:
    level = f"[{numbers.level(table)}]"
    reference = markdown(captions.reference(table))
    heads = ["row", markdown(table.metric.heading)]
    if not _judged(table):
        pass
    elif table.one_seed:
        heads += [f"Δ {reference}", f"re-run noise ({numbers.level(table)} band)"]
    else:
        heads += [f"Δ {reference} {level}", *(["verdict"] if table.has_verdicts else [])]
    if table.has_base:
        heads.append("Δ baseline" if table.one_seed else f"Δ baseline {level}")
    if table.secondary:
        heads.append(table.secondary.heading)
    heads.append(f"time/epoch{f' {captions.RATIO_LEVEL}' * captions.ratio_intervals(table)}")
    clock = numbers.Clock.of(row.seconds for row in table.rows)
    rows = [_row(row, table, clock) for row in table.rows]
    if table.total:
        rows.append(_total(table.total, table))
    return heads, rows


def _row(row: ReportRow, table: ReportTable, clock: numbers.Clock) -> list[str]:
    mean = parts.mean_text(row, table, with_sd=True).replace("±", "± ")
    verdict = parts.band_text(row, table) if table.one_seed else _verdict(row)
    cells = [markdown(row.label), mean]
    if _judged(table):
        cells.append(_delta(row.delta, table))
        cells += [verdict] if table.one_seed or table.has_verdicts else []
    if table.has_base:
        cells.append(_delta(row.base, table))
    if table.secondary:
        cells.append(numbers.secondary(row.secondary, table))
    return [*cells, _time(row, clock)]


def _judged(table: ReportTable) -> bool:
    return transposed.judged([table])


def _time(row: ReportRow, clock: numbers.Clock) -> str:
    time, ratio = parts.time_text(row, clock), numbers.ratio(row.ratio)
    return f"{time} ({ratio})" if ratio else time


def _total_time(total: Total) -> str:
    ratio = numbers.ratio(total.ratio)
    return f"({ratio})" if ratio else ""


def _total(total: Total, table: ReportTable) -> list[str]:
    # the row above is no question of the total's: its Δ stands below the baseline's
    cells = [f"**{markdown(total.label)}**", "", "", f"**{_verdict(total)}**"]
    cells.append(_delta(total.delta, table))
    if table.secondary:
        cells.append("")
    return [*cells, _total_time(total)]


def _delta(comparison: Comparison | None, table: ReportTable) -> str:
    return numbers.delta_texts(table, [comparison])[0]


def _verdict(row: parts.Judged) -> str:
    return f"{row.verdict}{' †' if row.dagger else ''}"


def _block(block: Block, table: ReportTable) -> str:
    """What follows from several rows or tables: a heading, a table, its sentences."""
    heads, rows = [""], [[markdown(line.label)] for line in block.lines]
    for j in range(len(block.heads)):
        heads.append(markdown(below.heading(block, j, table)))
        for row, line in zip(rows, block.lines, strict=True):
            row.append(" ".join(below.one(line.cells[j], block, j, table)))
        if j != below.judged_column(block):
            continue
        if below.has_verdicts(block):
            heads.append("verdict")
            for row, line in zip(rows, block.lines, strict=True):
                row.append(_verdict(line))
        if below.has_words(block):
            heads.append("")
            for row, line in zip(rows, block.lines, strict=True):
                row.append(markdown(line.word))
    notes = [note for note in [below.dagger(block)] if note]
    title = f"#### {markdown(below.title(block, table))}"
    return "\n\n".join([title, _pipes(heads, rows), *notes, *map(paragraph, block.caption)])


def _title(table: ReportTable) -> str:
    what = ", ".join(markdown(part) for part in (table.study, table.ablation) if part)
    return f"### {what} on {markdown(captions.title(table))}"


def _captions(group: Sequence[ReportTable]) -> list[str]:
    notes = [note for table in group if (note := captions.dagger(table))]
    notes += [paragraph(line) for table in group for line in (*table.notes, *table.failures)]
    return [*dict.fromkeys(notes), _caption(group), _source(group[0])]


def _source(table: ReportTable) -> str:
    command = code(table.provenance.command) if table.provenance.command else ""
    return ". ".join(part for part in (paragraph(captions.source(table)), command) if part)


def _caption(group: Sequence[ReportTable]) -> str:
    if len(group) > 1:
        return paragraph(transposed.caption(group))
    return captions.long_caption(_escaped(group[0]))


def _escaped(table: ReportTable) -> ReportTable:
    """With the names that sentences quote made safe; the sentences themselves are ours."""
    label = markdown(table.metric.label)
    metric = replace(table.metric, label=label)
    return replace(table, against=markdown(table.against), metric=metric)


def _transposed(group: Sequence[ReportTable]) -> str:
    first = group[0]
    heads = ["", *(markdown(f"{h}, {first.metric.heading}") for h in transposed.headings(group))]
    interval = "" if first.one_seed else f" [{numbers.level(first)}]"
    judged = transposed.judged(group)
    if judged:
        heads += [f"{markdown(transposed.question(group))}{interval}"]
        heads += [f"re-run noise ({numbers.level(first)} band)" if first.one_seed else "verdict"]
    rows = []
    for table in group:
        means = [
            transposed.mean_of(table, i).replace("±", "± ")
            for i in range(len(transposed.headings(group)))
        ]
        found = transposed.answer(table)
        verdict = transposed.verdict_of(table) if first.one_seed else found and _verdict(found)
        delta = _delta(transposed.delta_of(table), table)
        compared = [delta, verdict or ""] if judged else []
        rows.append([markdown(table.column), *means, *compared])
    what = ", ".join(markdown(part) for part in (first.study, first.ablation) if part)
    title = f"### {what} on {markdown(first.dataset)}"
    return "\n\n".join([title, _pipes(heads, rows), *_captions(group)])


def _pipes(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text_heads = ("", "row", "verdict")
    ruler = [":--" if head in text_heads or head.startswith("re-run") else "--:" for head in heads]
    body = [["" if not cell else f" {cell}" for cell in row] for row in (heads, ruler, *rows)]
    return "\n".join("|" + " |".join(row) + " |" for row in body)
