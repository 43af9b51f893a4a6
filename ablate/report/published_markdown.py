"""A table with published figures in markdown: every column, captions as paragraphs."""

from __future__ import annotations

from ablate.report import columns as parts
from ablate.report import numbers, words
from ablate.report import published_columns as published
from ablate.report.escape import markdown
from ablate.report.model import ReportTable


def grid(table: ReportTable) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, every column."""
    level = numbers.level(table)
    reference = words.REFERENCE[table.reference]
    means = [parts.mean_text(row, table, with_sd=True).replace("±", "± ") for row in table.rows]
    deltas = [parts.delta_texts(table, [row.delta])[0] for row in table.rows]
    found = [("row", [markdown(row.label) for row in table.rows])]
    found.append((f"measured {markdown(table.metric.heading)}", means))
    if table.one_seed:
        bands = [parts.band_text(row, table) for row in table.rows]
        found += [(f"Δ {reference}", deltas), (f"re-run noise ({level} band)", bands)]
    else:
        verdicts = [f"{row.verdict}{' †' if row.dagger else ''}" for row in table.rows]
        found += [(f"Δ {reference} [{level}]", deltas), ("verdict", verdicts)]
    figures = published.figure_texts(table)
    if figures:
        found.append((f"paper {markdown(table.metric.heading)}", figures))
    found.append(
        (
            " ".join(published.delta_head(table)),
            published.paper_delta_texts(table, marked=not figures),
        )
    )
    if table.paper and table.paper.match == "tricks":
        found.append(("from", published.place_texts(table)))
    if not table.one_seed:
        found.append(("paper's Δ in our interval", published.inside_texts(table)))
    found += [(f"{head[0]}, {head[1]}", texts) for _, head, texts in published.costs(table)]
    heads = [head for head, _ in found]
    return heads, [list(row) for row in zip(*(texts for _, texts in found), strict=True)]


def captions(table: ReportTable) -> list[str]:
    """Marks and sources, then what differs."""
    view = table.paper
    return [markdown(line) for line in (*view.footnotes, view.differs)] if view else []
