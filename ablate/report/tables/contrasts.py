"""What a table says about its own questions, as contrasts, and the block that prints them.

Of most kinds each row asks one, and the table's lines print it. Of factorials and orderings the
rows together ask: main effects and interactions, or shares; a block below the table prints those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import factorial

from ablate import stats
from ablate.core.comparisons import Question, complete_orders, most_df, questions
from ablate.core.metrics import Metric
from ablate.core.resolved_study import Table
from ablate.report import numbers
from ablate.report.model import Block, BlockCell, BlockLine, Mark
from ablate.report.tables import compare, interactions
from ablate.report.tables.compare import Judged

FEW_ORDERS = 4  # whose marginals stand in columns of their own


@dataclass(frozen=True)
class Answer:
    """A question in words, and its contrast; None where two rows are the same trials.

    interaction: whether it is one, which is no gain and no loss.
    """

    label: str
    contrast: stats.Contrast | None
    interaction: bool = False


@dataclass(frozen=True)
class Answers:
    """The questions that the rows of a table ask together, judged as one family.

    asked: with their contrasts, None of those that compare nothing. note: why there are none.
    detectable, needed: of the least certain one, in the metric's own unit.
    """

    asked: tuple[tuple[Question, stats.Contrast | None], ...] = ()
    effects: tuple[stats.Effect, ...] = ()  # of those with a contrast, in their order
    note: str = ""
    detectable: float | None = None
    needed: int | None = None
    needed_range: stats.SeedsRange | None = None

    @property
    def contrasts(self) -> list[stats.Contrast]:
        """Of the family."""
        return [contrast for _, contrast in self.asked if contrast is not None]

    def answered(self) -> tuple[Answer, ...]:
        """Every question with its contrast."""
        return tuple(
            Answer(question.label, contrast, question.part == "interactions")
            for question, contrast in self.asked
        )


def of_rows(judged: Judged, labels: Sequence[str]) -> tuple[Answer, ...]:
    """Each row against its reference, and the total."""
    found = [
        Answer(label, contrast)
        for label, reference, contrast in zip(
            labels, judged.references, judged.contrasts, strict=True
        )
        if reference is not None
    ]
    if judged.total is not None:
        found.append(Answer(judged.total.label, judged.total_contrast))
    return tuple(found)


def of_sets(
    table: Table,
    judged: Judged,
    metric: Metric,
    *,
    margin: float,
    alpha: float,
    next_alpha: float | None = None,
) -> Answers:
    """Judge what a factorial or orderings ask; nothing of other kinds.

    Every row takes part in every answer, so there is one only once all rows are complete. margin:
    in the metric's own unit.
    """
    asked = questions(table)
    if not asked:
        return Answers()
    if not judged.fitted.complete():
        return Answers(note=_waiting(table, judged))
    told = tuple(
        (question, None if question.empty else _contrast(table, judged, question))
        for question in asked
    )
    contrasts = [contrast for _, contrast in told if contrast is not None]
    worst = max((c for c in contrasts if c.se), key=lambda c: c.se or 0, default=None)
    seen = compare.detectable(worst, len(contrasts), alpha)
    effects = stats.family(
        contrasts, margin=margin, alpha=alpha, higher_is_better=metric.higher_is_better
    )
    needed = compare.needed(
        judged.fitted, worst, len(contrasts), margin, alpha, most_df=most_df(table)
    )
    between = compare.needed_range(
        judged.fitted, worst, len(contrasts), margin, next_alpha or alpha, most_df=most_df(table)
    )
    if worst is not None and worst.variance_per_seed is None:
        seen = None  # it takes more orders, not more seeds
    return Answers(told, tuple(effects), "", seen, needed, between)


def block(
    table: Table,
    judged: Judged,
    answers: Answers,
    metric: Metric,
    *,
    margin: float,
    alpha: float,
    decimals: int,
    examples: int | None,
) -> Block | None:
    """The block of a factorial or of orderings; None of other kinds and of incomplete tables."""
    if not answers.asked:
        return None
    lines, effects = list[BlockLine](), iter(answers.effects)
    log_odds = interactions.on_log_odds(judged.fitted, metric, examples)
    for question, contrast in answers.asked:
        more = _marginals(table, judged, question, alpha)
        if contrast is None:
            lines.append(BlockLine(question.label, (None, *more), "=", "="))
            continue
        effect = next(effects)
        said: str = effect.verdict or ""
        mark: Mark = compare.MARKS.get(said, "")
        dagger = effect.excludes_zero and said in ("equivalent", "unresolved")
        found, word = cell(effect), ""
        if question.part == "interactions":
            said, other = interactions.verdict(said)
            mark = other or mark
            on_odds = log_odds and log_odds.fit.contrast(question.coefficients)
            if on_odds:
                found = replace(found, log_odds=stats.effect(on_odds, alpha=alpha))
                word = interactions.apart(effect, found.log_odds)
        lines.append(BlockLine(question.label, (found, *more), said, mark, dagger, word))
    family = len(answers.effects)
    level = f"{100 * (1 - alpha):g}%"
    within = f"±{numbers.plain(round(margin * metric.scale, 9))}{metric.points}"
    equivalent = f"equivalent = within {within}" if margin else "no margin, so none is equivalent"
    judged_how = (
        f"{level} intervals, each from its own seeds and the noise of all rows (moderated t, "
        f"{numbers.degrees_of(effect.df for effect in answers.effects)} df), not corrected; "
        f"verdicts Holm-corrected over {numbers.count(family, 'comparison')}, {equivalent}."
    )
    seen = _could_see(answers, metric, alpha, decimals)
    if table.kind == "factorial":
        return Block(
            name="factorial",
            title=_factorial_title(table),
            heads=("effect",),
            lines=tuple(lines),
            judged=0,
            comparisons=family,
            caption=tuple(
                filter(
                    None,
                    (
                        *_factorial_caption(table),
                        judged_how,
                        *interactions.sentences(lines, 0),
                        seen,
                    ),
                )
            ),
        )
    return Block(
        name="shapley",
        title=_orders_title(table),
        heads=("share", *_order_heads(table)),
        lines=tuple(lines),
        judged=0,
        comparisons=family,
        caption=tuple(filter(None, (*_orders_caption(table), judged_how, seen))),
    )


def cell(effect: stats.Effect) -> BlockCell:
    """An effect with its interval."""
    return BlockCell(effect.delta, effect.low, effect.high, effect)


def _contrast(table: Table, judged: Judged, question: Question) -> stats.Contrast | None:
    fit = judged.fitted.fit
    if question.steps:
        return stats.ordering_share(fit, question.steps, complete=complete_orders(table))
    return fit.contrast(question.coefficients)


def _waiting(table: Table, judged: Judged) -> str:
    """Why there is no block yet."""
    what = "main effects and interactions" if table.kind == "factorial" else "shares"
    if len(table.seeds) == 1:
        return f"{what} need two seeds"
    fitted = judged.fitted
    short = [row.label for i, row in enumerate(table.rows) if not fitted.complete(i)]
    named = ", ".join(short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
    why = "diverged or incomplete" if any(fitted.diverged) else "incomplete"
    return f"{what} need every row: {named} {'is' if len(short) == 1 else 'are'} {why}"


def _could_see(answers: Answers, metric: Metric, alpha: float, decimals: int) -> str:
    """ "Could see main effects of about 0.8 and interactions of about 1.6 points."."""
    family = len(answers.effects)
    parts: dict[str, float] = {}
    for question, contrast in answers.asked:
        if contrast is None or not contrast.se:
            continue
        if contrast.variance_per_seed is None:
            return ""  # more orders would see more, and how much more is not known
        seen = compare.detectable(contrast, family, alpha)
        if seen is not None:
            parts[question.part] = max(seen, parts.get(question.part, 0.0))
    said = [
        f"{part} of about {numbers.fixed(seen * metric.scale, decimals)}"
        for part, seen in parts.items()
    ]
    return f"Could see {' and '.join(said)}{metric.points} (80% power)." if said else ""


def _factorial_title(table: Table) -> str:
    return "main effects and interactions" if len(table.factors) > 1 else "main effect"


def _factorial_caption(table: Table) -> list[str]:
    half = numbers.count(2 ** (len(table.factors) - 1), "row")
    said = [f"A main effect is the mean of the {half} with the trick minus that of the others."]
    if len(table.factors) > 1:
        said.append(
            "An interaction a × b is what a brings with b minus what it brings without b: whether "
            "they bring more or less together than each for itself."
        )
    if len(table.factors) > 2:
        said.append("Interactions of three tricks and more are averaged over and not shown.")
    return said


def _orders_title(table: Table) -> str:
    orders, entries = len(table.orders), len(table.factors)
    total = factorial(entries)
    if orders == total:
        return f"Shapley values, over {_all(orders)} orders"
    if complete_orders(table):
        return "each trick's share, over an order and its reverse"
    return f"Shapley values, estimated from {orders:,} of {total:,} orders"


def _all(orders: int) -> str:
    return "both" if orders == 2 else f"all {orders:,}"


def _order_heads(table: Table) -> tuple[str, ...]:
    if len(table.orders) > FEW_ORDERS:
        return ("smallest", "largest")
    return tuple(f"order {number}" for number in range(1, len(table.orders) + 1))


def _orders_caption(table: Table) -> list[str]:
    said = [
        "A share is what the trick adds to those before it, averaged over the orders; shares add "
        "up to all tricks against the baseline."
    ]
    if len(table.orders) > FEW_ORDERS:
        said.append("Smallest and largest: of what it adds in one order, without intervals.")
    else:
        listed = "; ".join(
            f"order {number}: {' → '.join(_path(table, order))}"
            for number, order in enumerate(table.orders, 1)
        )
        said.append(f"What it adds in one order is not corrected either: {listed}.")
    if not complete_orders(table):
        said.append("Which orders were drawn is part of a share's interval.")
    elif len(table.orders) < factorial(len(table.factors)):
        said.append(
            "A share is the Shapley value as far as no more than two tricks act on each other; its "
            "interval is about these two orders."
        )
    return said


def _path(table: Table, order: Sequence[int]) -> list[str]:
    """The entries, as the order adds them."""
    sets = [set(table.rows[row].factors) for row in order]
    added = [after - before for before, after in pairwise(sets)]
    return [" + ".join(sorted(one)) for one in added]


def _marginals(
    table: Table, judged: Judged, question: Question, alpha: float
) -> tuple[BlockCell | None, ...]:
    """What a trick adds in each order, or the smallest and the largest of many; of shares only."""
    if not question.steps:
        return ()
    fit = judged.fitted.fit
    told = [
        None if after == before else fit.difference(after, before)
        for after, before in question.steps
    ]
    if len(told) <= FEW_ORDERS:
        return tuple(None if one is None else cell(stats.effect(one, alpha=alpha)) for one in told)
    values = [0.0 if one is None else one.estimate for one in told]
    return BlockCell(min(values)), BlockCell(max(values))
