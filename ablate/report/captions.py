"""Captions: how many seeds, how sure, what the table could see, where it comes from.

Of several tables in one report also which study each is of, and what must not be compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby

from ablate.report import numbers
from ablate.report.model import ReportTable
from ablate.stats import MANY_SEEDS, MOST
from ablate.util.text import listed

_VENDOR = re.compile(r"NVIDIA |GeForce |AMD |\(R\)|\(TM\)|\(tm\)| CPU| Processor| @.*$")
MARKS = {
    "gain": "▲",
    "loss": "▼",
    "more together": "⊕",
    "less together": "⊖",
    "equivalent": "■",
    "unresolved": "○",
    "incomplete": "…",
    "diverged": "↯",
    "no effect": "∅",
    "=": "",
    "": "",
}
# Of a tuned table whose rows chose once: no interval of it has the noise of the choice.
CHOSEN_ONCE = (
    "settings were chosen once, for all seeds: intervals and verdicts are about these chosen "
    "settings, not about rows tuned anew"
)
REFERENCE = {"above": "row above", "baseline": "baseline", "full": "full set"}


def reference(table: ReportTable) -> str:
    """What a row's Δ is to, after "Δ": "row above", "to + mixup"."""
    return f"to {table.against}" if table.against else REFERENCE[table.reference]


def reference_row(table: ReportTable) -> str:
    """What a row is compared with, in a sentence: "the row above", "+ mixup"."""
    return table.against or f"the {REFERENCE[table.reference]}"


def over_seeds(table: ReportTable) -> str:
    """What a Δ is taken over: "over the same seeds", and where that is not so."""
    fitted = ", fitted where one diverged" if table.fits_around else ""
    return f"over the same seeds{fitted}"


def title(table: ReportTable) -> str:
    """What the rows are trained on: "imagenette, batch_size 256"."""
    return ", ".join(part for part in (table.dataset, table.column) if part)


def dagger(table: ReportTable) -> str | None:
    """The footnote of †, where a row has one."""
    if not any(row.dagger for row in table.judged):
        return None
    return dagger_of(table.comparisons)


def dagger_of(comparisons: int) -> str:
    """The footnote of † in a family of that size."""
    over = numbers.count(comparisons, "comparison")
    return f"† the interval leaves out 0, the test corrected for {over} does not"


def short_caption(table: ReportTable) -> str:
    """The terminal's caption: facts divided by middle dots, or the one-seed sentence."""
    devices = [short_device(name) for _, name in table.provenance.machines]
    if table.one_seed:
        return one_seed(table)
    facts = [f"± sd over n = {numbers.count(len(table.seeds), 'seed')}"]
    if chosen_once(table):
        facts.append("about the settings chosen once")
    if table.df is not None:
        interval = f"moderated {numbers.level(table)} interval ({numbers.degrees(table)} df)"
        facts.append(f"Δ {over_seeds(table)}, {interval}")
        if table.comparisons:  # else the rows have no verdicts of their own
            over = numbers.count(table.comparisons, "comparison")
            facts.append(f"verdicts Holm-corrected over {over}, {equivalent(table)}")
        if table.until is not None:
            facts.append(str(table.until))
        if looked := look_again(table):
            facts.append(looked)
        if table.comparisons and (seen := could_see(table)):
            facts.append("; ".join([f"could see about {seen} (80% power)", *_needs(table)]))
    elif table.compares:
        facts.append("Δ over the same seeds")
        if table.exact_agreement:
            facts.append("no interval: the seeds agree exactly, so the noise is unknown")
    return " · ".join([*facts, "last epoch", *devices])


def cost_caption(table: ReportTable, facts: Sequence[str]) -> str:
    """The terminal's caption of a table of cost."""
    devices = [short_device(name) for _, name in table.provenance.machines]
    spread = "" if table.one_seed else "± sd over "
    seeds = f"{spread}n = {numbers.count(len(table.seeds), 'seed')}"
    return " · ".join([*facts, seeds, "last epoch", *devices])


def knows_wins(table: ReportTable) -> bool:
    """Whether of some row it is known how often it would win a new seed."""
    return table.has_verdicts and any(row.delta and row.delta.wins for row in table.judged)


def wins(table: ReportTable) -> str:
    """What the column of wins is, in a sentence; "" where nothing is known of it."""
    if not knows_wins(table):
        return ""
    return (
        f"Wins a new seed: how often the row would beat {reference_row(table)}, both trained once "
        f"more with one seed, with its {numbers.level(table)} interval."
    )


def one_seed(table: ReportTable) -> str:
    """What one seed allows: the band, and that it is no finding."""
    bands = [row.delta.band for row in table.rows if row.delta and row.delta.band is not None]
    said = "One seed: no interval and no verdict."
    if not bands:
        return said
    band = numbers.fixed(max(bands) * table.metric.scale, table.decimals)
    return (
        f"{said} Training the same recipe twice differs by up to ±{band}{table.metric.points} "
        f"({numbers.level(table)}; sd ≈ √(error/2N), N = {table.examples or 0:,}). "
        f'"Outside" is a reason to run more seeds, not a finding.'
    )


def long_caption(table: ReportTable) -> str:
    """The caption in sentences, for markdown and papers."""
    said = [measured(table)]
    if table.one_seed:
        return " ".join([*said, one_seed(table)])
    if chosen_once(table):
        said.append("About the settings that were chosen once, not about rows tuned anew.")
    if table.df is not None:
        said.append(
            f"Δ: mean difference {over_seeds(table)}, {numbers.level(table)} interval from its own "
            f"seeds and the noise of all rows (moderated t, {numbers.degrees(table)} df), not "
            "corrected."
        )
        said += _verdicts(table) if table.comparisons else filter(None, [looks(table)])
    elif table.compares:
        said.append("Δ: mean difference over the same seeds.")
        if table.exact_agreement:
            said.append("No interval: the seeds agree exactly, so the noise is unknown.")
    if any(row.ratio for row in table.rows):
        said.append(f"× is against {reference_row(table)}.")
    return " ".join(said)


def _verdicts(table: ReportTable) -> list[str]:
    """How rows are judged, and what differences they could show."""
    over = numbers.count(table.comparisons, "comparison")
    margin = f"±{numbers.plain(table.margin)}{table.metric.points}"
    inner = f"equivalent: {numbers.inner_level(table)} interval within {margin}"
    said = [
        f"Verdicts: Holm-corrected over {over}, p < {f'{table.alpha:g}'.lstrip('0')}; "
        f"{inner if table.margin else equivalent(table)}."
    ]
    if looked := looks(table):
        said.append(looked)
    if seen := could_see(table):
        needs = [f"the declared {text}" for text in _needs(table)]
        seeing = f"This table could see differences from about {seen} with 80% power"
        said.append(f"{'; '.join([seeing, *needs])}.")
    return said


_UNEVEN = 1.5  # times as much must be seen for both ends to be named
RATIO_LEVEL = "[95%]"  # of the intervals of ratios of times, whatever the table's is


def ratio_intervals(table: ReportTable) -> bool:
    """Whether a ratio of times has an interval."""
    return any(row.ratio and row.ratio.low is not None for row in table.judged)


def measured(table: ReportTable) -> str:
    """What the metric's column is, in a sentence."""
    name = table.metric.label[:1].upper() + table.metric.label[1:]
    epochs = table.provenance.epochs
    which = f"of {numbers.count(epochs, 'epoch')}" if epochs else "epoch"
    seeds = f"n = {numbers.count(len(table.seeds), 'seed')} ({numbers.span(table.seeds)})"
    over = seeds if table.one_seed else f"mean ± standard deviation over {seeds}"
    return f"{name} at the last {which}, {over}."


def source(table: ReportTable) -> str:
    """Recipe, machines and versions: "resnet50_v1, batch 64; 1 × NVIDIA RTX 4090, torch 2.8.0"."""
    origin = table.provenance
    machines = [f"{number} × {name}" for number, name in origin.machines]
    versions = [f"torch {version}" for version in origin.torch]
    versions += [f"ablate {version}" for version in origin.ablate]
    return "; ".join(", ".join(part) for part in (origin.settings, machines + versions) if part)


def equivalent(table: ReportTable) -> str:
    """What is called equivalent: "equivalent = within ±0.5", or why nothing is."""
    if not table.margin:
        return f"no margin declared for {table.metric.label}: nothing is called equivalent"
    return f"equivalent = within ±{numbers.plain(table.margin)}"


def could_see(table: ReportTable) -> str | None:
    """The smallest difference that could be seen, "3.6 points", or "1.3 to 7.3 points" where one
    comparison sees far less than another; None where it is not known."""
    if table.detectable is None:
        return None
    worst, best = table.detectable, table.detectable_best
    ends = [worst] if best is None or worst <= _UNEVEN * best else [best, worst]
    said = " to ".join(numbers.fixed(end, table.decimals) for end in ends)
    return f"{said}{table.metric.points}"


def _needs(table: ReportTable) -> list[str]:
    if not table.margin:
        return []
    return [f"±{numbers.plain(table.margin)} needs {seeds_needed(table)}"]


def seeds_needed(table: ReportTable) -> str:
    """The seeds that the margin takes: "8 to 30 seeds at look 2", "more than 100 seeds"."""
    found = table.seeds_range
    if found is None:
        return "more seeds than anyone can train"
    many = f"more than {MANY_SEEDS}"
    low = many if found.low is None else f"{_round_number(found.low, math.floor)}"
    high = many if found.high is None else f"{_round_number(found.high, math.ceil)}"
    between = f"about {low}" if found.low is not None else low
    said = f"{between if low == high else f'{low} to {high}'} seeds"
    if table.look is None or table.until is not None or low == many:
        return said
    return f"{said} at look {table.look.next_number}"


def _round_number(seeds: int, way: Callable[[float], int]) -> int:
    """As a person would say it: 7, 12, 25, 80."""
    step = 1 if seeds <= 12 else 5 if seeds <= 50 else 10
    return way(seeds / step) * step


def looks(table: ReportTable) -> str:
    """The looks of an `--until` run, all of them and this one, or those at a table that was seen
    before, in a sentence; "" of a first look that was not planned."""
    said = []
    if table.until is not None:
        planned = ", ".join(str(seeds) for seeds, _ in table.until.looks)
        said.append(f"Seeds added until resolved: {table.until}, planned at {planned} seeds.")
    if again := look_again(table):
        said.append(f"{again[:1].upper()}{again[1:]}.")
    return " ".join(said)


def look_again(table: ReportTable) -> str:
    """ "look 2 of this table (first at 3 seeds): judged at .0025; …"; "" of a first look, and of
    those that `--until` planned."""
    look = table.look
    if look is None or not look.earlier or not table.said:
        return ""
    if table.until is not None and all(one.planned for one in look.earlier):
        return ""
    earlier = list(dict.fromkeys(len(one.seeds) for one in look.earlier))
    where = "first" if len(look.earlier) == 1 else "before"
    seen = f"{listed([str(n) for n in earlier])} seeds"
    most = "at most" if look.promise <= MOST else "up to"
    level, share = level_in_words(look.alpha), f"{100 * look.promise:.3g}%"
    return (
        f"look {look.number} of this table ({where} at {seen}): judged at {level}; over all looks "
        f"{most} {share} of tables of useless tricks claim something"
    )


def level_in_words(alpha: float) -> str:
    """ ".0025"."""
    return f"{alpha:.7f}".rstrip("0").removeprefix("0")


def chosen_once(table: ReportTable) -> bool:
    """Whether its rows are tuned, each once for all its seeds."""
    return table.tuning is not None and table.tuning.once


_NAMED = 4  # studies that a note names before it counts the others


def by_study(tables: Sequence[ReportTable]) -> list[list[ReportTable]]:
    """The tables of each study, in order."""
    return [list(group) for _, group in groupby(tables, key=lambda table: table.study)]


def study_title(tables: Sequence[ReportTable]) -> str:
    """What a study's tables stand below: its name and its recipe."""
    return " · ".join(part for part in (tables[0].study, recipe(tables)) if part)


def recipe(tables: Sequence[ReportTable]) -> str:
    """The recipe of a study's tables in words; where some are tuned and others are not, or not
    alike, each recipe with the tables that have it."""
    having: dict[str, list[ReportTable]] = {}
    for table in tables:
        having.setdefault(table.provenance.headline, []).append(table)
    if len(having) == 1:
        return next(iter(having))
    return "; ".join(f"{said} ({_named(some, tables)})" for said, some in having.items())


def notes(tables: Sequence[ReportTable]) -> list[str]:
    """What holds for all tables together, a sentence each: what differs between studies and makes
    their rows no comparison, how many families there are, times from different devices.
    """
    found = []
    if len(by_study(tables)) > 1:
        for what, value in _PROTOCOL:
            found += _differ(what, tables, value)
        for dataset in dict.fromkeys(table.dataset for table in tables):
            same = [table for table in tables if table.dataset == dataset]
            found += _differ(f"test images of {dataset}", same, _images)
        if found:
            found.append("compare rows within a study only: these are not trained or judged alike")
    timed = [table for table in tables if any(row.seconds is not None for row in table.rows)]
    found += _differ("devices", timed, _devices, "times are not comparable: devices differ")
    return found + _families(tables)


def _families(tables: Sequence[ReportTable]) -> list[str]:
    """Each family of comparisons errs at its level, or at those of all looks at its table, and a
    report of several more often."""
    levels = [
        round(table.look.error, 9) if table.look and table.look.earlier else table.alpha
        for table in tables
        for size in (table.comparisons, *(block.comparisons for block in table.blocks))
        if size
    ]
    if len(levels) < 2:
        return []
    one_or_more = 1 - math.prod(1 - level for level in levels)
    each = f"up to {100 * levels[0]:g}%" if len(set(levels)) == 1 else "its own share"
    return [
        f"{len(levels)} families of comparisons: of useless tricks each claims something in {each} "
        f"of reports, one of them or more in up to about {100 * one_or_more:.0f}%"
    ]


def _differ(
    what: str,
    tables: Sequence[ReportTable],
    value: Callable[[ReportTable], Hashable],
    said: str = "",
) -> list[str]:
    """ "margins differ: ±0.5 points in group1, ±1 points in group2"; nothing where all agree."""
    values = {str(found): None for table in tables if (found := value(table)) is not None}
    if len(values) < 2:
        return []
    each = []
    for text in values:
        having = [table for table in tables if str(value(table)) == text]
        each.append(f"{text} in {_named(having, tables)}")
    return [f"{said or f'{what} differ'}: {', '.join(each)}"]


def _named(having: Sequence[ReportTable], tables: Sequence[ReportTable]) -> str:
    """The studies, or where a study has both, its tables."""
    several = len(by_study(tables)) > 1
    names = []
    for table in having:
        whole = all(other in having for other in tables if other.study == table.study)
        place = [] if whole and several else [table.ablation, title(table)]
        names.append(" ".join(part for part in (table.study if several else "", *place) if part))
    names = list(dict.fromkeys(names))
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} others"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _setting(ending: str) -> Callable[[ReportTable], str | None]:
    def found(table: ReportTable) -> str | None:
        return next((s for s in table.provenance.settings if s.endswith(ending)), None)

    return found


def _metric(table: ReportTable) -> str:
    return table.metric.label


def _margin(table: ReportTable) -> str:
    return f"±{numbers.plain(table.margin)}{table.metric.points}" if table.margin else "none"


def _level(table: ReportTable) -> str:
    return numbers.level(table)


def _seeds(table: ReportTable) -> str:
    return numbers.span(table.seeds)


def _epochs(table: ReportTable) -> int | None:
    return table.provenance.epochs


def _images(table: ReportTable) -> str | None:
    return None if table.examples is None else f"{table.examples:,}"


def _devices(table: ReportTable) -> str | None:
    return ", ".join(short_device(name) for _, name in table.provenance.machines) or None


_PROTOCOL: tuple[tuple[str, Callable[[ReportTable], Hashable]], ...] = (
    ("metrics", _metric),
    ("margins", _margin),
    ("levels of the intervals", _level),
    ("seeds", _seeds),
    ("epochs", _epochs),
    ("image sizes", _setting(" px")),
    ("numerics", _setting(" numerics")),
)


def short_device(name: str) -> str:
    """ "NVIDIA GeForce RTX 4090" → "RTX 4090"."""
    return " ".join(_VENDOR.sub("", name).split()) or name
