"""Verdict: the total, then what helps and what does not, then what could not have been seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ablate.report import captions, numbers
from ablate.report.formats.html import markup
from ablate.report.formats.html.drawing import icon
from ablate.report.formats.html.markup import Markup, join, name, tag
from ablate.report.formats.html.views import Line, Panel, interval_text, listed, scaled, signed
from ablate.report.model import Block, BlockLine, Mark, ReportRow, ReportTable
from ablate.stats import Ratio

_ORDER: tuple[Mark, ...] = (
    *("gain", "loss", "equivalent", "unresolved"),
    *("incomplete", "diverged", "no effect", "="),
)


def render(place: markup.Place, panels: Sequence[Panel], *, advice: Markup | None = None) -> Markup:
    """The section. advice: what else to train, if the order of the rows is a question."""
    blocks = [_panel(place, panel) for panel in panels]
    return markup.section(
        place,
        "Verdict",
        "what helps, and how sure",
        tag("div", blocks, class_="verdicts"),
        _seen(panels),
        advice,
        attention(dict.fromkeys(n for p in panels for t in p.tables for n in t.notes)),
        _lines("✗", [line for p in panels for t in p.tables for line in t.failures]),
        _missing(panels),
    )


def _panel(place: markup.Place, panel: Panel) -> Markup:
    lines = [line for line in panel.lines if not line.is_total or panel.transposed]
    said = _one_seed(lines) if panel.first.one_seed else _judged(lines)
    blocks = [(block, table) for table in panel.tables for block in table.blocks]
    answers = [_block(block, table) for block, table in blocks if block.judged is not None]
    why = "the baseline alone" if len(panel.first.rows) == 1 else "the table has values only"
    nothing = f"Nothing to compare: {why}." if not said and not answers else None
    return tag(
        "div",
        place.heading(panel.title, class_="panel", deeper=1),
        _headline(panel),
        tag("ul", said, class_="said") if said else None,
        answers,
        tag("p", nothing, class_="note") if nothing else None,
        class_="block",
    )


_LEADS: dict[Mark, str] = {
    "gain": "Helps",
    "loss": "Hurts",
    "more together": "Bring more together:",
    "less together": "Bring less together:",
    "equivalent": "No difference",
    "unresolved": "Unresolved",
    "=": "Changes nothing:",
}


_PRINTED = frozenset({"gain", "loss", "more together", "less together"})


def _block(block: Block, table: ReportTable) -> Markup:
    """What a block's lines say, whose questions have no other sentence: a trick's main effect, an
    interaction ("cosine × ema"), a share."""
    found = []
    for mark, lead in _LEADS.items():
        lines = [line for line in block.lines if line.mark == mark]
        margin = f" within ±{numbers.plain(table.margin)}" if mark == "equivalent" else ""
        names = [_answer(line, block, table) for line in lines]
        parts_ = [join(", " if i else None, each) for i, each in enumerate(names)]
        if lines:
            found.append(tag("li", icon(mark), tag("span", f"{lead}{margin} ", parts_)))
    if not found:
        return Markup()
    return join(tag("p", block.title, class_="note"), tag("ul", found, class_="said"))


def _answer(line: BlockLine, block: Block, table: ReportTable) -> Markup:
    label = tag("b", name(line.label))
    cell = line.cells[block.judged] if block.judged is not None else None
    value = scaled(cell.value, table) if cell else None
    if cell is None or value is None or line.mark not in _PRINTED:
        return join(label, f" ({line.word})" if line.word else None)
    low, high = scaled(cell.low, table), scaled(cell.high, table)
    ends = None if low is None or high is None else (low, high)
    interval = tag("span", interval_text(ends, table), class_="about")
    small = " (negligible)" if "negligible" in line.verdict else None
    delta = tag("b", signed(value, table))
    named = tag("span", label, " ", delta, " ", interval, small, class_="name")
    return join(named, f", {line.word}" if line.word else None)


def _headline(panel: Panel) -> Markup:
    """The total in large figures; without one, what the rows are compared with."""
    table = panel.first
    if panel.transposed:
        asked = next((line.asked.label for line in panel.lines), "")
        return tag("p", f"{asked}, for each of {len(panel.tables)}", class_="note")
    total = next((line for line in panel.lines if line.is_total), None)
    if total is None or total.delta is None:
        return tag("p", _reference(table), class_="note")
    judged = total.asked.mark not in ("incomplete", "diverged", "no effect")
    big = tag("b", signed(total.delta, table), class_="big" if judged else "big about")
    how = interval_text(total.interval, table)
    if not judged:
        on = f"on {numbers.count(total.comparison.shared if total.comparison else 0, 'seed')}"
        how = f"{how or on}, {total.asked.verdict}"
    first, last = table.rows[table.baseline].mean, table.rows[total.row].mean
    what = "all " + numbers.count(_steps(table), "trick")
    from_to = f"{numbers.mean(first, table)} → {numbers.mean(last, table)}"
    source = what if _steps(table) > 1 else "the trick"
    sentence = f"{table.metric.difference} from {source}: {from_to}{table.metric.after}"
    time = _time(total.asked.ratio, least=0.005)
    time = "no difference in time shown" if time is None else time
    return join(
        tag("p", big, " ", tag("span", how, class_="about"), class_="total"),
        tag("p", sentence + (f", {time}" if time else ""), class_="note"),
    )


def _steps(table: ReportTable) -> int:
    return sum(row.role == "step" for row in table.rows)


def _reference(table: ReportTable) -> str:
    row = table.rows[table.baseline]
    if row.mean is None:
        return ""
    mean = numbers.mean(row.mean, table)
    spread = ""
    if row.sd is not None:
        spread = f" ±{numbers.fixed(row.sd * table.metric.scale, table.decimals)}"
    return f"{row.label}: {table.metric.heading} {mean}{spread} (n = {row.n})"


def _judged(lines: Sequence[Line]) -> list[Markup]:
    return [
        _sentence(mark, [line for line in lines if line.asked.mark == mark])
        for mark in _ORDER
        if any(line.asked.mark == mark for line in lines)
    ]


def _sentence(mark: Mark, lines: Sequence[Line]) -> Markup:
    margin = f"±{numbers.plain(lines[0].table.margin)}"
    lead = {
        "gain": "Helps",
        "loss": "Hurts",
        "equivalent": f"No difference within {margin}",
        "unresolved": "Unresolved",
        "incomplete": "Incomplete",
        "diverged": "Diverged",
        "no effect": "No effect",
        "=": f"Same trial as {captions.reference_row(lines[0].table)}:",
    }[mark]
    names = [_name(mark, line) for line in lines]
    parts_ = [join(", " if i else None, each) for i, each in enumerate(names)]
    return tag("li", icon(mark), tag("span", f"{lead} ", parts_))


def _name(mark: Mark, line: Line) -> Markup:
    label = tag("b", name(line.name))
    if mark in ("gain", "loss") and line.delta is not None:
        delta = tag("b", signed(line.delta, line.table))
        interval = tag("span", interval_text(line.interval, line.table), class_="about")
        small = " (negligible)" if "negligible" in line.asked.verdict else None
        named = tag("span", label, " ", delta, " ", interval, small, class_="name")
        return join(named, _often(line))
    if mark == "equivalent":
        time = _time(line.asked.ratio, least=0.05)
        return join(label, f" {time}" if time else None)
    # what it lacks, or what the row it is compared with does
    said, _, how = line.asked.verdict.rstrip(")").partition(" (")
    whose = "its reference" if said.startswith("reference") else ""
    lacks = ", ".join(part for part in (whose, how) if part)
    return join(label, f" ({lacks})" if lacks else None)


def _often(line: Line) -> str | None:
    """ ", wins about 97% of new seeds"; of a loss how many it loses."""
    wins = line.comparison.wins if line.comparison else None
    if wins is None:
        return None
    gained = line.asked.mark == "gain"
    percent = round(100 * (wins.share if gained else 1 - wins.share))
    often = "nearly all" if percent > 99 else f"about {percent}% of"
    return f", {'wins' if gained else 'loses'} {often} new seeds"


def _one_seed(lines: Sequence[Line]) -> list[Markup]:
    """Where the one seed's differences lie; no more can be said of them."""
    inside: dict[str, list[Line]] = {"outside": [], "inside": []}
    others = []
    for line in lines:
        if line.asked.mark:
            others.append(line)
        elif line.delta is not None and line.band is not None:
            inside["inside" if abs(line.delta) <= line.band else "outside"].append(line)
    found = []
    for where, held in inside.items():
        if held:
            names = [
                join(", " if i else None, tag("b", name(line.name)), f" {_delta(line)}")
                for i, line in enumerate(held)
            ]
            text = f"{where.capitalize()} the re-run band: "
            found.append(tag("li", icon("unresolved"), tag("span", text, names)))
    return found + _judged(others)


def _delta(line: Line) -> str:
    return "" if line.delta is None else signed(line.delta, line.table)


def _time(ratio: Ratio | None, *, least: float) -> str | None:
    """ "at ×0.51 [0.48, 0.54] of the time" where its interval leaves out 1 and it differs by
    `least`; "" where it differs by less; None where the interval holds 1. Without an interval
    nothing is said: who knows how far the machine alone moves it?"""
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    if ratio.low <= 1 <= ratio.high:
        return None
    return f"at {numbers.ratio(ratio)} of the time" if abs(ratio.ratio - 1) >= least else ""


def _seen(panels: Sequence[Panel]) -> Markup:
    """What this report could see, or the sentence of one seed."""
    tables = [table for panel in panels for table in panel.tables]
    if tables[0].one_seed:
        bands = [captions.one_seed(table) for table in tables]
        return tag("p", max(bands, key=len), class_="note")
    known = [table for table in tables if table.detectable is not None]
    facts = []
    if known:
        several = len(known) > 1
        seen = listed(
            f"{captions.could_see(table)}" + (f" ({_where(table)})" if several else "")
            for table in known
        )
        facts.append(f"This report could see differences from about {seen} (80% power).")
        if known[0].margin:
            facts.append(f"The declared ±{numbers.plain(known[0].margin)} needs {_needs(known)}.")
    if any(table.exact_agreement for table in tables):
        facts.append("No interval: the seeds agree exactly, so the noise is unknown.")
    if not tables[0].metric.higher_is_better:
        facts.append(f"The lower the {tables[0].metric.label} the more a row helps.")
    return _note(facts)


def _needs(tables: Sequence[ReportTable]) -> str:
    """ "8 to 30 seeds", "8 to 30 seeds and more than 100 seeds", in the order of the data sets."""
    return listed(dict.fromkeys(captions.seeds_needed(table) for table in tables))


def _note(sentences: Sequence[str]) -> Markup:
    """Sentences in one muted paragraph."""
    return tag("p", " ".join(sentences), class_="note") if sentences else Markup()


def order_caveat(tables: Sequence[ReportTable]) -> Markup | None:
    """What a cumulative table leaves open.

    No other design is offered: a table that was seen has had its chance to claim something.

    tables: of one ablation.
    """
    stacks = [t for t in tables if t.kind == "cumulative" and _steps(t) > 1 and not t.transpose]
    if not stacks or stacks[0].one_seed:
        return None
    said = "Each step stands on those above it: in another order the steps may differ."
    return tag("p", said, class_="note")


def _where(table: ReportTable) -> str:
    return table.column if table.transpose and table.column else captions.title(table)


def attention(lines: Iterable[str]) -> Markup | None:
    """A "!" line each; nothing for none."""
    return _lines("!", lines)


def _lines(sign: str, lines: Iterable[str]) -> Markup | None:
    found = [tag("li", tag("span", sign, class_="icon"), tag("span", line)) for line in lines]
    return tag("ul", found, class_="said small") if found else None


def _missing(panels: Sequence[Panel]) -> Markup | None:
    """How many trials are not there yet, and are no failures."""
    rows: list[ReportRow] = [row for p in panels for t in p.tables for row in t.rows]
    cells = {cell.key: cell.status for row in rows for cell in row.seeds}
    waiting = [status for status in cells.values() if status in ("new", "running", "interrupted")]
    if not waiting:
        return None
    counts = {status: waiting.count(status) for status in ("running", "interrupted")}
    how = ", ".join(f"{number:,} {status}" for status, number in counts.items() if number)
    said = f"{len(waiting):,} of {numbers.count(len(cells), 'trial')} not done yet"
    return _lines("…", [said + (f" ({how})" if how else "")])
