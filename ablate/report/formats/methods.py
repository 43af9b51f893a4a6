"""The paragraphs on methods for a paper, from the tables alone: what was done, and what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from ablate.core.metrics import metric_named
from ablate.core.resolved_study import Tuning
from ablate.errors import AblateError, did_you_mean
from ablate.report import captions, numbers
from ablate.report.formats.escape import markdown
from ablate.report.formats.latex.text import prose
from ablate.report.model import ReportRow, ReportTable
from ablate.util.text import listed

KINDS = ("markdown", "latex")

_SOURCES = {
    "Clopper and Pearson, 1934": "Clopper, C. J. and Pearson, E. S. (1934). The use of confidence "
    "or fiducial limits illustrated in the case of the binomial. Biometrika 26, 404–413.",
    "Holm, 1979": "Holm, S. (1979). A simple sequentially rejective multiple test procedure. "
    "Scandinavian Journal of Statistics 6, 65–70.",
    "Schuirmann, 1987": "Schuirmann, D. J. (1987). A comparison of the two one-sided tests "
    "procedure and the power approach for assessing the equivalence of average bioavailability. "
    "Journal of Pharmacokinetics and Biopharmaceutics 15, 657–680.",
    "Smyth, 2004": "Smyth, G. K. (2004). Linear models and empirical Bayes methods for assessing "
    "differential expression in microarray experiments. Statistical Applications in Genetics and "
    "Molecular Biology 3 (1), article 3.",
    "Shapley (1953)": "Shapley, L. S. (1953). A value for n-person games. Contributions to the "
    "Theory of Games II, 307–317.",
    "Bouthillier et al., 2021": "Bouthillier, X., Delaunay, P., Bronzi, M. et al. (2021). "
    "Accounting for variance in machine learning benchmarks. MLSys. arXiv 2103.03098.",
    "He et al. (2019)": "He, T., Zhang, Z., Zhang, H., Zhang, Z., Xie, J. and Li, M. (2019). "
    "Bag of tricks for image classification with convolutional neural networks. CVPR. "
    "arXiv 1812.01187.",
}
_COMPARED = ", and every variant was compared with"
# What each design trains, and what a row is compared with.
_DESIGNS = {
    "cumulative": "The {tricks} {added} {were} added to a baseline one after another, in this "
    "order, and every variant was compared with the one before it",
    "one_at_a_time": "The {tricks} {added} {were} {each}added alone to a baseline, and every "
    "variant was compared with the baseline",
    "leave_one_out": "Each of the tricks {added} was left out of the full set in turn, and every "
    "variant was compared with the full set",
    "factorial": "Every combination of the tricks {added} was trained, from the baseline without "
    "any of them to the full set",
    "orderings": "The sets of tricks that several orders of {added} go through were trained, from "
    "the baseline without any of them to the full set",
}


def render_methods(tables: Sequence[ReportTable], kind: str = "markdown") -> str:
    """The text, a line for each paragraph, its sources last; it ends in a newline.

    kind: one of `KINDS`. Raises AblateError for another.
    """
    if kind not in KINDS:
        raise AblateError(f"the methods are prose, not {kind}{did_you_mean(kind, KINDS)}")
    escape = markdown if kind == "markdown" else prose
    studies = captions.by_study(tables)
    found: list[str] = []
    for study in studies:
        parts = [" ".join(part) for part in _paragraphs(study) if part]
        said = list(map(escape, parts))
        if len(studies) > 1:
            name = escape(study[0].study)
            said[0] = (
                f"**{name}.** {said[0]}"
                if kind == "markdown"
                else f"\\paragraph{{{name}}} {said[0]}"
            )
        found += said
    if notes := captions.notes(tables):
        found.append(escape(" ".join(f"{note[:1].upper()}{note[1:]}." for note in notes)))
    text = " ".join(found)
    sources = [source for cited, source in _SOURCES.items() if cited in text]
    found += [escape(source) for source in sources]
    return "\n\n".join(found) + "\n"


def _paragraphs(tables: Sequence[ReportTable]) -> list[list[str]]:
    """Of one study: the design, the analysis, what of it differs by table, what is missing, what
    else is given, what it ran on."""
    groups = [list(group) for _, group in groupby(tables, key=lambda table: table.ablation)]
    return [
        _once([_design(group, several=len(groups) > 1) for group in groups]),
        _judged(tables),
        _by_table(tables),
        _missing(tables),
        *_further(tables),
        _machines(tables),
    ]


def _once(parts: Sequence[Sequence[str]]) -> list[str]:
    """The sentences of all parts, those that every part has last and once."""
    shared = [said for said in parts[0] if all(said in part for part in parts)]
    own = [said for part in parts for said in part if said not in shared]
    return [*own, *shared]


def _design(group: Sequence[ReportTable], *, several: bool) -> list[str]:
    first = group[0]
    said = []
    base = first.rows[first.baseline]
    steps = [row for row in first.rows if row.role == "step"]
    # What the ablation does not vary: of leave one out, whose baseline is the full set, the tricks
    # that every row has.
    shared = base.tricks
    if first.kind == "leave_one_out":
        shared = tuple(t for t in base.tricks if all(t in row.tricks for row in first.rows))
    if first.kind == "cumulative":
        added = [row.label.removeprefix("+ ") for row in steps]
    else:
        every = dict.fromkeys(trick for row in first.rows for trick in row.tricks)
        added = [trick for trick in every if trick not in shared]
    name = f"Ablation {first.ablation}: " if first.ablation else ""
    if added:
        one = len(added) == 1
        were, tricks, each = ("was", "trick", "") if one else ("were", "tricks", "each ")
        words_ = {"were": were, "tricks": tricks, "each": each}
        design = _DESIGNS[first.kind].format(added=_list(added), **words_)
        if first.kind == "cumulative" and first.total:
            design += "; the last was also compared with the baseline"
        if first.against:
            design = f"{design.partition(_COMPARED)[0]}{_COMPARED} {first.against}"
        said.append(f"{name}{design}.")
    for role, also in (
        ("branch", "{labels} {were} added to the last of these and not carried on"),
        ("control", "{labels} {are} a control: what else the trick changes, without the trick"),
    ):
        labels = [row.label.removeprefix("+ ") for row in first.rows if row.role == role]
        were, are = ("was", "is") if len(labels) == 1 else ("were", "are")
        if labels:
            said.append(also.format(labels=_list(labels), were=were, are=are) + ".")
    if same := [row.label for row in first.rows if row.mark == "="]:
        said.append(
            f"{_list(same)} came to the same training as the row above and is no comparison."
        )
    model, *parts = first.provenance.headline.split(" · ")
    others = [table.provenance.headline.split(" · ") for table in group]
    recipe = [part for part in parts if all(part in other for other in others)]
    had = f", with {_list(shared)}" if shared else ""
    settings = f" ({', '.join(recipe)})" if recipe else ""
    recipe_of_all = several or first.kind == "leave_one_out"
    what = "The recipe" if recipe_of_all else "The baseline"
    said.append(f"{what} was {model}{settings}{had}.")
    said.append(_data(group))
    tuned = dict.fromkeys(_tuned(t.tuning, one_seed=t.one_seed) for t in group if t.tuning)
    said += tuned
    for table in group:
        if table.chosen:
            where = f" on {captions.title(table)}" if len(group) > 1 else ""
            each = "; ".join(f"{label} {values}" for label, values in table.chosen)
            said.append(f"Chosen were{where}: {each}.")
    return said


def _tuned(tuning: Tuning, *, one_seed: bool) -> str:
    """The choice of every row, which had the same budget."""
    tenth = "tenth" if tuning.held_out == 10 else f"{tuning.held_out}th"
    among = f"among the same {len(tuning.options)}: {tuning.words}"
    images = f"on a {tenth} of the training images that was held out"
    unseen = "the test images had no part in the choice."
    if tuning.once:
        return (
            f"Every variant, the baseline too, chose its settings once, for all seeds, {among}, "
            f"by its result {images}, with seed {tuning.seed}, and was then trained with them on "
            f"all training images; {unseen} What is said here is about these chosen settings, not "
            f"about variants tuned anew: no interval has the noise of the choice."
        )
    said = (
        f"With each seed every variant, the baseline too, chose its settings anew {among}, by the "
        f"result of a training with that seed {images}, seed s the {tenth} number s mod "
        f"{tuning.held_out}, and was then trained with them and that seed on all training images; "
        f"{unseen}"
    )
    if one_seed:
        return said
    return (
        f"{said} The noise of the choice is therefore in the intervals (Bouthillier et al., 2021)."
    )


def _data(group: Sequence[ReportTable]) -> str:
    sets = dict.fromkeys(table.dataset for table in group)
    images = {t.dataset: t.examples for t in group}
    named = [f"{name} ({images[name]:,} test images)" if images[name] else name for name in sets]
    columns = dict.fromkeys(table.column for table in group if table.column)
    each = f", for each of {_list(columns)}" if columns else ""
    first = group[0]
    if first.one_seed:
        seeds = f"once, with seed {first.seeds[0]}"
    else:
        seeds = f"with the same n = {len(first.seeds)} seeds ({numbers.span(first.seeds)})"
    said = f"Every variant was trained {seeds}, on {_list(named)}{each}."
    limits = dict.fromkeys(t.provenance.limit for t in group if t.provenance.limit)
    few = [f"at most {limit:,} images" for limit in limits]
    return f"{said} Of every split {_list(few)} were used, balanced over classes." if few else said


def _judged(tables: Sequence[ReportTable]) -> list[str]:
    first = tables[0]
    epochs = {table.provenance.epochs for table in tables}
    only = epochs.pop() if len(epochs) == 1 else None
    which = f"the last of {numbers.count(only, 'epoch')}" if only else "the last epoch"
    spread = "" if first.one_seed else " as mean and standard deviation over seeds"
    said = [f"We report {first.metric.prose} at {which}{spread}; no epoch was selected."]
    if first.until is not None:
        looks = [f"{seeds} seeds (α = {alpha:g})" for seeds, alpha in first.until.looks]
        whole = sum(alpha for _, alpha in first.until.looks)
        said.append(
            "Seeds were added to every variant until no comparison was unresolved, at looks "
            f"planned before any training, after {_list(looks)}, which share an error rate of "
            f"{whole:g}; these are the results of look {first.until.number}, at "
            f"{first.until.seeds} seeds."
        )
    if first.declared:
        declared = metric_named(first.declared).label
        said.append(f"The metric that the study declared is {declared}: this one is exploratory.")
    if any(table.against for table in tables):
        said.append("The study declared other comparisons than these, which are exploratory.")
    if first.one_seed:
        return [*said, *_one_seed(tables)]
    fitted = [table for table in tables if table.df is not None]
    if not any(table.compares for table in tables):
        return said
    around = any(table.fits_around for table in tables)
    where = "; where a training diverged they are those of the fit below" if around else ""
    said.append(f"Differences are means over the seeds that both variants have{where}.")
    if fitted:
        said += _fit(fitted, several=len(tables) > 1)
    said += dict.fromkeys(
        _looked(table, _named([table], tables)) for table in tables if captions.look_again(table)
    )
    said += dict.fromkeys(
        f"On {captions.title(table)} the seeds agree exactly, so that the noise is unknown and "
        "there is neither interval nor verdict."
        for table in tables
        if table.exact_agreement
    )
    return said


def _looked(table: ReportTable, name: str) -> str:
    """That this is not the first look at a table, and what that does to the level."""
    look = table.look
    assert look is not None
    each = [f"α = {one.alpha:g} at {len(one.seeds)} seeds" for one in look.earlier]
    return (
        f"The table{f' of {name}' if name else ''} was judged before, {_list(each)}; this is look "
        f"{look.number}, at "
        f"α = {look.alpha:g}, and all looks together have an error rate of at most "
        f"{look.promise:.3g}."
    )


def _fit(tables: Sequence[ReportTable], *, several: bool) -> list[str]:
    first = tables[0]
    weighted = (
        ", weighted by a power of the variants' error rates that restricted maximum likelihood "
        "chose"
        if first.metric.of_examples
        else ""
    )
    level = f"{_same(tables, numbers.level)} " if _same(tables, numbers.level) else ""
    inner = f"{_same(tables, numbers.inner_level) or '1 − 2α'} interval"
    margin = f"±{numbers.plain(first.margin)}{first.metric.points}"
    df = _same(tables, _freedom)
    said = [
        f"Their intervals come from a least-squares fit of the metric on variant and seed"
        f"{weighted}, and from each difference's own variance over seeds, moderated by the "
        f"residual variance of all variants (Smyth, 2004{f'; {df}' if df else ''}); they are "
        f"{level}intervals for new seeds on these test images, not corrected for the number of "
        f"comparisons."
    ]
    tested = [table for table in tables if table.comparisons]
    if tested:
        over = _same(tested, _compared) or "its comparisons"
        at = _same(tested, _alpha) or "the level α of their table"
        family = "Within each table, which is a family of its own, d" if several else "D"
        said.append(
            f"{family}ifferences were tested against zero at {at} with Holm's correction over "
            f"{over} (Holm, 1979)."
        )
    for title, number in _families(tables):
        over = numbers.count(number, "comparison")
        said.append(f"“{title}” is a family of {over}, corrected in the same way (Holm, 1979).")
    if len(said) > 1 and not first.margin:
        said.append(
            f"No margin of {first.metric.label} was declared: no variant is called equivalent, and "
            f"one is unresolved where the test does not decide."
        )
    elif len(said) > 1:
        said.append(
            f"A variant is called equivalent where the {inner} of its difference lies "
            f"within the declared margin of {margin}, by two one-sided tests (Schuirmann, 1987), "
            f"and unresolved where neither test decides."
        )
    if any(map(captions.knows_wins, tables)):
        said.append(
            "The share of new seeds at which a variant would beat what it is compared with is "
            "Φ(Δ/σ), σ being the standard deviation of the difference over seeds, with an interval "
            f"by the noncentral t distribution{_wins(tables)}."
        )
    seen = [table for table in tables if table.detectable is not None]
    found = []
    if least := _same(seen, _seen):
        found.append(
            "the smallest difference that these seeds would detect with 80% power at the "
            f"corrected level is about {least}"
        )
    if first.margin and (needs := _same(seen, captions.seeds_needed)):
        found.append(f"the margin of {margin} would take {needs}")
    text = "; ".join(found)
    return [*said, f"{text[:1].upper()}{text[1:]}."] if text else said


def _wins(tables: Sequence[ReportTable]) -> str:
    """ ": 97% [81, > 99] for mixup", of every gain and loss of one table; "" of several."""
    if len(tables) > 1:
        return ""
    said = [
        f"{numbers.wins(row.delta.wins)} for {row.label.removeprefix('+ ')}"
        for row in tables[0].judged
        if row.mark in ("gain", "loss") and row.delta and row.delta.wins
    ]
    return f": {_list(said)}" if said else ""


def _by_table(tables: Sequence[ReportTable]) -> list[str]:
    """The numbers of the analysis that are not the same in all tables."""
    fitted = [table for table in tables if table.df is not None]
    seen = [table for table in fitted if table.detectable is not None]
    judged = [table for table in fitted if table.comparisons]
    within = [table for table in seen if table.margin]
    asked = (
        (fitted, _alpha, "{}"),
        (fitted, numbers.level, "{} intervals"),
        (fitted, _freedom, "{}"),
        (judged, _compared, "{}"),
        (seen, _seen, "differences from about {} detected with 80% power"),
        (within, captions.seeds_needed, "the margin would take {}"),
    )
    differing = [part for part in asked if part[0] and not _same(*part[:2])]
    named: dict[str, list[ReportTable]] = {}
    for table in fitted:
        facts = [words.format(value(table)) for those, value, words in differing if table in those]
        if facts:
            named.setdefault(", ".join(facts), []).append(table)
    return [f"For {_named(those, fitted)}: {facts}." for facts, those in named.items()]


def _named(those: Sequence[ReportTable], every: Sequence[ReportTable]) -> str:
    """Ablations all of whose tables are among those by their name, tables of others by theirs."""
    found: dict[str, None] = {}
    for table in those:
        whole = [other for other in every if other.ablation == table.ablation]
        alone = bool(table.ablation) and all(other in those for other in whole)
        name = table.ablation, "" if alone else captions.title(table)
        found[" ".join(part for part in name if part)] = None
    return _list(found)


def _families(tables: Sequence[ReportTable]) -> Iterable[tuple[str, int]]:
    """(title, comparisons) of blocks that have verdicts of their own."""
    return dict.fromkeys(
        (block.title, block.comparisons)
        for table in tables
        for block in table.blocks
        if block.comparisons
    )


def _one_seed(tables: Sequence[ReportTable]) -> list[str]:
    bands = {
        captions.title(table): max(found)
        for table in tables
        if (found := [r.delta.band for r in table.rows if r.delta and r.delta.band is not None])
    }
    said = ["One training of a variant allows no interval and no test, and none is given."]
    if bands:
        first = tables[0]
        each = [
            f"±{numbers.fixed(band * first.metric.scale, first.decimals)}{first.metric.points}"
            + (f" on {name}" if len(bands) > 1 else "")
            for name, band in bands.items()
        ]
        said.append(
            f"If the noise of a training is that of its test set, sd ≈ √(error/2N), two trainings "
            f"of one recipe differ by up to {_list(each)} from re-running alone "
            f"({numbers.level(first)}); it may be twice as much. No difference here is a finding."
        )
    return said


def _missing(tables: Sequence[ReportTable]) -> list[str]:
    """Rows that have not all their seeds: said, never averaged over."""
    short: dict[str, dict[str, None]] = {}
    for table in tables:
        for row in table.rows:
            if why := _lack(row, table):
                short.setdefault(captions.title(table), {})[f"{row.label} ({why})"] = None
    if not short:
        return []
    where = "; ".join(f"on {title}: {_list(rows)}" for title, rows in short.items())
    said = [f"Not every training gave a result, {where}"]
    if tables[0].one_seed:
        return [f"{said[0]}; such a variant has no result yet."]
    said = [
        f"{said[0]}; such a variant is compared over the seeds it shares, and neither it nor what "
        "is compared with it gets a verdict of gain, loss or equivalence."
    ]
    if any(row.diverged for table in tables for row in table.rows):
        said.append(
            "Intervals of the shares of trainings that diverged are exact (Clopper and Pearson, "
            "1934)."
        )
    return said


def _lack(row: ReportRow, table: ReportTable) -> str:
    if any(cell.status == "no_effect" for cell in row.seeds):
        return "its trick changed nothing"
    if row.diverged:
        return f"diverged in {numbers.share(row.diverged, table.alpha)}"
    if row.n < len(table.seeds):
        return f"{row.n} of {numbers.count(len(table.seeds), 'seed')}"
    return ""


def _further(tables: Sequence[ReportTable]) -> list[list[str]]:
    """Blocks, a paragraph for each kind, and published figures."""
    found = []
    every = [block for table in tables for block in table.blocks]
    for title, name in dict.fromkeys((block.title, block.name) for block in every):
        blocks = [block for block in every if (block.title, block.name) == (title, name)]
        heads = {head.lower() for block in blocks for head in block.heads}
        shapley = any("shapley" in text for text in (title.lower(), name, *heads))
        source = ", Shapley values after Shapley (1953)" if shapley else ""
        sentences = dict.fromkeys(
            part if part.endswith((".", "!", "?")) else f"{part}."
            for block in blocks
            for part in block.caption
        )
        found.append([f"Also given: {title}{source}.", *sentences])
    if any(table.paper for table in tables):
        found.append(["Published figures beside the measured ones are those of He et al. (2019)."])
    return found


def _machines(tables: Sequence[ReportTable]) -> list[str]:
    # of several tables the same machines: the largest number of each
    machines: dict[str, int] = {}
    for table in tables:
        for number, name in table.provenance.machines:
            machines[name] = max(number, machines.get(name, 0))
    names = [f"{number} × {name}" for name, number in machines.items()]
    profiles = dict.fromkeys(s for t in tables for s in t.provenance.settings if "numerics" in s)
    versions = [f"torch {v}" for v in dict.fromkeys(v for t in tables for v in t.provenance.torch)]
    versions += [
        f"ablate {v}" for v in dict.fromkeys(v for t in tables for v in t.provenance.ablate)
    ]
    said = []
    if names:
        how = f", in {_list(profiles)}" if profiles else ""
        software = f", with {_list(versions)}" if versions else ""
        said.append(f"Trainings ran on {_list(names)}{how}{software}.")
    if any(row.seconds is not None for table in tables for row in table.rows):
        said.append(
            "Times per epoch are medians without the first epoch, and are compared on one kind of "
            "device only."
        )
    commands = dict.fromkeys(t.provenance.command for t in tables if t.provenance.command)
    if commands:
        said.append(f"The tables are made by: {'; '.join(commands)}.")
    return said


def _same(tables: Sequence[ReportTable], value: Callable[[ReportTable], str]) -> str:
    """What all of these tables have; "" where they differ, and of none."""
    values = {value(table) for table in tables}
    return values.pop() if len(values) == 1 else ""


def _freedom(table: ReportTable) -> str:
    df = numbers.degrees(table)
    return f"{df} degree{'' if df == '1' else 's'} of freedom"


def _alpha(table: ReportTable) -> str:
    return f"α = {table.alpha:g}"


def _seen(table: ReportTable) -> str:
    return captions.could_see(table) or ""


def _compared(table: ReportTable) -> str:
    return numbers.count(table.comparisons, "comparison")


def _list(parts: Iterable[str]) -> str:
    return listed(list(parts))
