"""Tables in markdown: every column, captions as paragraphs."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.report import columns as parts
from ablate.report import numbers, transposed, words
from ablate.report.escape import code, markdown
from ablate.report.model import Comparison, ReportRow, ReportTable, Total


def render_markdown(tables: Sequence[ReportTable]) -> str:
    """Every table with its title and captions; the text ends in a newline."""
    blocks = []
    for group in transposed.groups(tables):
        if group[0].transpose:
            blocks.append(_transposed(group))
        else:
            blocks.append(_table(group[0]))
    return "\n\n".join(blocks) + "\n"


def _table(table: ReportTable) -> str:
    heads, rows = _grid(table)
    return "\n\n".join([_title(table), _pipes(heads, rows), *_captions([table])])


def _grid(table: ReportTable) -> tuple[list[str], list[list[str]]]:
    level = f"[{numbers.level(table)}]"
    reference = words.REFERENCE[table.reference]
    heads = ["row", markdown(table.metric.heading)]
    if table.one_seed:
        heads += [f"Δ {reference}", f"re-run noise ({numbers.level(table)} band)"]
    else:
        heads += [f"Δ {reference} {level}", "verdict"]
    if table.has_base:
        heads.append("Δ baseline" if table.one_seed else f"Δ baseline {level}")
    if table.secondary:
        heads.append(table.secondary.heading)
    heads.append("time/epoch")
    decimals = numbers.seconds([row.seconds for row in table.rows if row.seconds])
    rows = [_row(row, table, decimals) for row in table.rows]
    if table.total:
        rows.append(_total(table.total, table))
    return heads, rows


def _row(row: ReportRow, table: ReportTable, decimals: int) -> list[str]:
    mean = parts.mean_text(row, table, with_sd=True).replace("±", "± ")
    verdict = parts.band_text(row, table) if table.one_seed else _verdict(row)
    cells = [markdown(row.label), mean, _delta(row.delta, table), verdict]
    if table.has_base:
        cells.append(_delta(row.base, table))
    if table.secondary:
        cells.append(numbers.secondary(row.secondary, table))
    ratio = parts.ratio_text(row.ratio)
    time = parts.time_text(row, decimals)
    return [*cells, f"{time} ({ratio})" if ratio else time]


def _total(total: Total, table: ReportTable) -> list[str]:
    # the row above is no question of the total's: its Δ stands below the baseline's
    cells = [f"**{markdown(total.label)}**", "", "", f"**{_verdict(total)}**"]
    cells.append(_delta(total.delta, table))
    if table.secondary:
        cells.append("")
    ratio = parts.ratio_text(total.ratio)
    return [*cells, f"({ratio})" if ratio else ""]


def _delta(comparison: Comparison | None, table: ReportTable) -> str:
    return parts.delta_texts(table, [comparison])[0]


def _verdict(row: ReportRow | Total) -> str:
    return f"{row.verdict}{' †' if row.dagger else ''}"


def _title(table: ReportTable) -> str:
    what = ", ".join(markdown(part) for part in (table.study, table.ablation) if part)
    return f"### {what} on {markdown(words.title(table))}"


def _captions(group: Sequence[ReportTable]) -> list[str]:
    notes = [note for table in group if (note := words.dagger(table))]
    notes += [markdown(line) for table in group for line in (*table.notes, *table.failures)]
    first = group[0]
    source = markdown(words.source(first))
    command = code(first.provenance.command) if first.provenance.command else ""
    return [*dict.fromkeys(notes), _caption(group), ". ".join(p for p in (source, command) if p)]


def _caption(group: Sequence[ReportTable]) -> str:
    return words.long_caption(group[0]) if len(group) == 1 else transposed.caption(group)


def _transposed(group: Sequence[ReportTable]) -> str:
    first = group[0]
    heads = ["", *(f"{markdown(h)}, {first.metric.heading}" for h in transposed.headings(group))]
    interval = "" if first.one_seed else f" [{numbers.level(first)}]"
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
        rows.append([markdown(table.column), *means, delta, verdict or ""])
    what = ", ".join(markdown(part) for part in (first.study, first.ablation) if part)
    title = f"### {what} on {markdown(first.dataset)}"
    return "\n\n".join([title, _pipes(heads, rows), *_captions(group)])


def _pipes(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text_heads = ("", "row", "verdict")
    ruler = [":--" if head in text_heads or head.startswith("re-run") else "--:" for head in heads]
    body = [["" if not cell else f" {cell}" for cell in row] for row in (heads, ruler, *rows)]
    return "\n".join("|" + " |".join(row) + " |" for row in body)
