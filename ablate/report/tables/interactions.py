"""Whether tricks bring more together than apart: in points, and on log-odds where those differ.

Near the ceiling there is less to gain: 53.8 → 78.9% and 88.7 → 95.7% are 25 and 7 points, and much
the same step in odds. So an interaction in points may be none on log-odds, and a reader must know.
"""

from __future__ import annotations

from dataclasses import replace

from ablate import stats
from ablate.core.metrics import Metric
from ablate.report import numbers
from ablate.report.model import BlockLine, Mark
from ablate.report.tables.fit import Fitted

MORE, LESS = "more together", "less together"
_SAID = {"gain": MORE, "loss": LESS}
_MARKS: dict[str, Mark] = {MORE: "more together", LESS: "less together"}

POINTS_ONLY = "in points only"
LOG_ODDS_ONLY = "on log-odds only"
REVERSED = "reversed on log-odds"
_SENTENCES = {
    POINTS_ONLY: "no interaction shown",
    LOG_ODDS_ONLY: "an interaction, which is not shown in points",
    REVERSED: "the other way round",
}
EXPLAINED = (
    "Log-odds count a step by the odds that it changes: 53.8 → 78.9% and 88.7 → 95.7%, 25 points "
    "and 7, are nearly the same step."
)


def word(effect: stats.Effect, *, more: bool) -> str:
    """What an interval that leaves out 0 shows; more: whether the effect is above 0 of what brings
    more together."""
    return (MORE if more else LESS) if effect.excludes_zero else ""


def verdict(of_family: str) -> tuple[str, Mark | None]:
    """A verdict of an interaction, which is no gain and no loss, also one "on both" data sets;
    None: its mark stays."""
    for first, said in _SAID.items():
        if of_family.startswith(first):
            return said + of_family.removeprefix(first), _MARKS[said]
    return of_family, None


def on_log_odds(fitted: Fitted, metric: Metric, examples: int | None) -> Fitted | None:
    """The same rows on log-odds, equally noisy; None of what is no share of examples."""
    if not metric.of_examples:
        return None
    return replace(fitted, fit=stats.fit(stats.log_odds(fitted.fit.values, examples=examples)))


def apart(effect: stats.Effect, log_odds: stats.Effect | None) -> str:
    """How the two scales disagree, "" where they do not."""
    if log_odds is None or log_odds.low is None or effect.low is None:
        return ""
    if effect.excludes_zero != log_odds.excludes_zero:
        return POINTS_ONLY if effect.excludes_zero else LOG_ODDS_ONLY
    return REVERSED if effect.excludes_zero and effect.delta * log_odds.delta < 0 else ""


def sentences(lines: list[BlockLine], column: int) -> list[str]:
    """What log-odds say of the lines where they disagree with points."""
    found = []
    for line in lines:
        cell = line.cells[column]
        other = cell.log_odds if cell else None
        if cell is None or cell.effect is None or other is None:
            continue
        if differs := apart(cell.effect, other):
            low, high = (numbers.signed(end or 0.0, 2) for end in (other.low, other.high))
            value = numbers.signed(other.delta, 2)
            found.append(
                f"{line.label} on log-odds: {value} [{low}, {high}], {_SENTENCES[differs]}."
            )
    return [*found, EXPLAINED] if found else []
