"""A table with published figures beside ours: its columns in a terminal, and in markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal

from ablate.report import captions, numbers
from ablate.report.formats import columns as parts
from ablate.report.formats.costs import Shown
from ablate.report.formats.escape import markdown, visible
from ablate.report.formats.grid import Cell, Column, Ink, total_width
from ablate.report.model import ReportRow, ReportTable
from ablate.report.published.data import PublishedCell, Source
from ablate.report.published.text import MARKS, OTHER_QUESTION, other_question, title

# Dropped from left to right where a terminal is too narrow.
DROPPED = ("min/epoch", "M params", "GMACs", "±sd", "paper top-1", "verdict")
_NARROW = 60  # below: one block per row

_STYLES = {"gain": "cyan", "loss": "yellow", "diverged": "red", "no effect": "red"}
_HEADS = {"above": ("Δ row", "above"), "baseline": ("Δ", "baseline"), "full": ("Δ full", "set")}


def columns(table: ReportTable, dropped: Collection[str] = ()) -> list[Column]:
    """Columns left when `dropped` ones (of `DROPPED`) are gone."""
    found = [_labels(table)]
    found.append(_means(table, with_sd="±sd" not in dropped and not table.one_seed))
    compared = any(row.delta or row.verdict for row in table.rows)  # a baseline may stand alone
    if compared:
        found += _judgement(table, with_verdict="verdict" not in dropped)
    figures = _figures(table) if "paper top-1" not in dropped else []
    found += figures
    if compared:
        theirs = paper_delta_texts(table, marked=not figures)
        found.append(_plain("", delta_head(table), theirs, right=True))
        if table.paper and table.paper.match == "tricks":
            found.append(_plain("", ("", "from"), place_texts(table)))
        if not table.one_seed:
            found.append(_plain("", ("paper's Δ in", "our interval"), inside_texts(table)))
    found += [
        _plain(name, head, texts) for name, head, texts in costs(table) if name not in dropped
    ]
    return found


def cost_columns(table: ReportTable) -> list[Column]:
    """What the rows cost, here and in the paper, and the metric that it bought."""
    more = [_plain(name, head, texts) for name, head, texts in costs(table)]
    return [_labels(table), _means(table, with_sd=not table.one_seed), *_figures(table), *more]


def _labels(table: ReportTable) -> Column:
    labels = [row.label for row in table.rows]
    if table.paper:
        labels[table.baseline] = table.paper.first
    return _plain("", (visible(title(table)), ""), [visible(label) for label in labels])


def _figures(table: ReportTable) -> list[Column]:
    texts = figure_texts(table)
    head = ("paper", visible(table.metric.heading))
    return [_plain("paper top-1", head, texts, right=True)] if texts else []


def _judgement(table: ReportTable, *, with_verdict: bool) -> list[Column]:
    """Our Δ with its interval and verdict, or with the band of one seed."""
    level = numbers.level(table)
    if table.one_seed:
        deltas = [numbers.delta(row.delta, table) for row in table.rows]
        bands = [Cell(parts.band_text(row, table), _style(row)) for row in table.rows]
        return [
            _plain("", _HEADS[table.reference], deltas, right=True),
            Column("", ("re-run noise", f"({level} band)"), tuple(bands)),
        ]
    deltas = numbers.delta_texts(table, [row.delta for row in table.rows])
    interval = f"[{level} interval]" if table.df is not None else ""
    found = [_plain("Δ", (f"Δ {captions.REFERENCE[table.reference]}", interval), deltas)]
    if with_verdict:
        verdicts = [Cell(parts.verdict_text(row), _style(row)) for row in table.rows]
        found.append(Column("verdict", ("", "verdict"), tuple(verdicts)))
    return found


def fitting(
    table: ReportTable, width: int, ink: Ink, shown: Shown
) -> tuple[list[Column], list[str]] | None:
    """(columns, names of those left out) that fit; None: one block per row."""
    if shown == "cost":
        cost = cost_columns(table)
        fits = width >= _NARROW and total_width(cost, ink, roomy=False) <= width
        return (cost, []) if fits else None
    whole = columns(table)
    if shown == "all":
        return whole, []
    if width < _NARROW:
        return None
    present = {column.name for column in whole}
    names = [name for name in DROPPED if name in present]
    for number in range(len(names) + 1):
        chosen = columns(table, names[:number])
        if total_width(chosen, ink, roomy=False) <= width:
            return chosen, names[:number]
    return None


def delta_head(table: ReportTable) -> tuple[str, str]:
    """Of the published Δ: a single trick's says that it is no more than that."""
    if table.paper and table.paper.match == "tricks":
        return "paper's Δ for", "this trick"
    return "paper", "Δ"


def figure_texts(table: ReportTable) -> list[str]:
    """ "75.93°" for each row; empty where the table has single tricks only."""
    if table.paper and table.paper.match == "tricks":
        return []
    return [
        "" if cell is None else _marked(_figure(cell, table), cell.source)
        for cell in (row.published for row in table.rows)
    ]


def paper_delta_texts(table: ReportTable, *, marked: bool) -> list[str]:
    """ "+0.76", with a mark where it answers another question than the row's own Δ.

    marked: with that of its source too, where no figure beside it has one.
    """
    texts = []
    for i, row in enumerate(table.rows):
        cell = row.published
        if cell is None or cell.delta is None:
            texts.append("")
            continue
        text = signed(cell.delta)
        if marked:
            text = _marked(text, cell.delta_source)
        texts.append(text + OTHER_QUESTION * other_question(table, cell, i))
    return texts


def inside_texts(table: ReportTable) -> list[str]:
    """ "yes", "no", or nothing where there is no interval."""
    said = {True: "yes", False: "no", None: ""}
    return [said[row.published.inside] if row.published else "" for row in table.rows]


def place_texts(table: ReportTable) -> list[str]:
    """ "table 4": where a single trick's Δ stands."""
    return [f"table {row.published.table}" if row.published else "" for row in table.rows]


def costs(table: ReportTable) -> list[tuple[str, tuple[str, str], list[str]]]:
    """(name, heading, cells "3.86 / 3.8°") of the costs that both sides have in some row."""
    found: list[tuple[str, tuple[str, str], list[str]]] = []

    def add(
        name: str,
        head: str,
        ours: Callable[[ReportRow], float | None],
        theirs: Callable[[PublishedCell], tuple[Decimal | None, Source]],
    ) -> None:
        texts, both = [], False
        for row in table.rows:
            here = ours(row)
            there, source = theirs(row.published) if row.published else (None, "text")
            both |= here is not None and there is not None
            if here is None and there is None:
                texts.append("")
                continue
            left = "–" if here is None else numbers.figures(here)
            texts.append(f"{left} / {'–' if there is None else _marked(str(there), source)}")
        if both:
            found.append((name, (head, "ours / paper"), texts))

    add(
        "min/epoch",
        "min/epoch",
        lambda row: row.seconds and row.seconds / 60,
        lambda cell: (cell.minutes, cell.minutes_source),
    )
    add(
        "M params",
        "M params",
        lambda row: row.parameters and row.parameters / 1e6,
        lambda cell: (cell.mparams, cell.cost_source),
    )
    add(
        "GMACs",
        "GMACs",
        lambda row: row.macs and row.macs / 1e9,
        lambda cell: (cell.gmacs, cell.cost_source),
    )
    return found


def signed(delta: Decimal) -> str:
    """As many digits as were printed: "+0.76", "−0.34", "0.00"."""
    sign = "+" if delta > 0 else "−" if delta < 0 else ""
    return f"{sign}{abs(delta)}"


def _means(table: ReportTable, *, with_sd: bool) -> Column:
    texts = [parts.mean_text(row, table, with_sd=with_sd) for row in table.rows]
    width = max((len(text.split(" ")[0]) for text in texts), default=0)
    aligned = [" " * (width - len(text.split(" ")[0])) + text for text in texts]
    return _plain("±sd" if with_sd else "", ("measured", visible(table.metric.heading)), aligned)


def _figure(cell: PublishedCell, table: ReportTable) -> str:
    return str(cell.top1 if table.metric.name == "top1" else cell.top5)


def _marked(text: str, source: Source) -> str:
    return f"{text}{MARKS[source]}"


def _plain(
    name: str, head: tuple[str, str], texts: Collection[str], *, right: bool = False
) -> Column:
    return Column(name, head, tuple(Cell(text) for text in texts), right=right)


def _style(row: ReportRow) -> str:
    return _STYLES.get(row.mark, "")


def grid(table: ReportTable) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, every column."""
    level = numbers.level(table)
    reference = captions.REFERENCE[table.reference]
    means = [parts.mean_text(row, table, with_sd=True).replace("±", "± ") for row in table.rows]
    deltas = [numbers.delta_texts(table, [row.delta])[0] for row in table.rows]
    found = [("row", [markdown(row.label) for row in table.rows])]
    found.append((f"measured {markdown(table.metric.heading)}", means))
    if table.one_seed:
        bands = [parts.band_text(row, table) for row in table.rows]
        found += [(f"Δ {reference}", deltas), (f"re-run noise ({level} band)", bands)]
    else:
        verdicts = [f"{row.verdict}{' †' if row.dagger else ''}" for row in table.rows]
        found += [(f"Δ {reference} [{level}]", deltas), ("verdict", verdicts)]
    figures = figure_texts(table)
    if figures:
        found.append((f"paper {markdown(table.metric.heading)}", figures))
    found.append(
        (
            " ".join(delta_head(table)),
            paper_delta_texts(table, marked=not figures),
        )
    )
    if table.paper and table.paper.match == "tricks":
        found.append(("from", place_texts(table)))
    if not table.one_seed:
        found.append(("paper's Δ in our interval", inside_texts(table)))
    found += [(f"{head[0]}, {head[1]}", texts) for _, head, texts in costs(table)]
    heads = [head for head, _ in found]
    return heads, [list(row) for row in zip(*(texts for _, texts in found), strict=True)]


def paper_captions(table: ReportTable) -> list[str]:
    """Marks and sources, then what differs."""
    view = table.paper
    return [markdown(line) for line in (*view.footnotes, view.differs)] if view else []
