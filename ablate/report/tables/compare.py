"""Which rows are compared with which, in one family, and what each comparison may claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ablate import stats
from ablate.core.comparisons import row_questions, total_question
from ablate.core.metrics import Metric
from ablate.core.resolved_study import Table
from ablate.report.model import Comparison, Mark, SeedValue, Total
from ablate.report.tables import cells
from ablate.report.tables.fit import Fitted, fit_rows

MARKS: dict[str, Mark] = {
    "gain": "gain",
    "loss": "loss",
    "gain, negligible": "gain",
    "loss, negligible": "loss",
    "equivalent": "equivalent",
    "unresolved": "unresolved",
}


@dataclass(frozen=True)
class Said:
    """A verdict as printed, and its kind."""

    text: str = ""
    mark: Mark = ""
    dagger: bool = False


@dataclass(frozen=True)
class Judged:
    """Everything the comparisons of a table say; lists are by row.

    references: the row each is compared with. ends: the two rows of the total.
    standard_errors: of the family's comparisons, in the metric's own unit. A table that judges no
    row, because it asks of all of them together, has no family here. contrasts: of each row with
    its reference, total_contrast: of the total, None where there is nothing to compare.
    """

    fitted: Fitted
    references: tuple[int | None, ...]
    baseline: int
    deltas: tuple[Comparison | None, ...]
    bases: tuple[Comparison | None, ...]
    verdicts: tuple[Said, ...]
    total: Total | None
    ends: tuple[int, int]
    comparisons: int
    df: float | None
    df_most: float | None
    detectable: float | None
    detectable_best: float | None
    seeds_needed: int | None
    seeds_range: stats.SeedsRange | None
    exact_agreement: bool
    standard_errors: tuple[float, ...]
    contrasts: tuple[stats.Contrast | None, ...]
    total_contrast: stats.Contrast | None


def judge(
    table: Table,
    grid: Sequence[Sequence[SeedValue]],
    metric: Metric,
    *,
    margin: float,
    alpha: float,
    examples: int | None,
    next_alpha: float | None = None,
) -> Judged:
    """Compare every row with its reference and with the baseline.

    margin: in the metric's own unit. next_alpha: level at which more seeds would be judged. Rows of
    the same trials are fitted once. A comparison of rows that are not complete counts in the
    family, as does that with a diverged seed on either side; neither gets a verdict.
    """
    return _Judge(table, grid, metric, margin, alpha, examples, next_alpha or alpha).judged()


class _Judge:
    def __init__(
        self,
        table: Table,
        grid: Sequence[Sequence[SeedValue]],
        metric: Metric,
        margin: float,
        alpha: float,
        examples: int | None,
        next_alpha: float,
    ) -> None:
        self.table, self.grid, self.metric = table, grid, metric
        self.margin, self.alpha, self.examples = margin, alpha, examples
        self.next_alpha = next_alpha
        self.references = [row.above for row in table.rows]
        roles = [row.role for row in table.rows]
        self.baseline = roles.index("baseline") if "baseline" in roles else 0
        self.fitted = fit_rows([row.keys for row in table.rows], grid, metric, examples)
        self.fit, self.values = self.fitted.fit, self.fitted.values
        self.diverged, self.missing = self.fitted.diverged, self.fitted.missing

    def judged(self) -> Judged:
        table, seeds = self.table, len(self.table.seeds)
        steps = sum(row.role == "step" for row in table.rows)
        pairs = [(i, r) for i, r in enumerate(self.references) if r is not None]
        asked_total = total_question(table)
        wants_total = asked_total is not None and seeds > 1
        ends = asked_total or (self.baseline, self.baseline)

        # One comparison counts once, also if two rows of the same trials ask for it.
        family = {self._pair(*p): None for p in row_questions(table) if self._judgeable(*p)}
        contrasts = {p: c for p in family if (c := self._contrast(p)) is not None}
        asked = {self._pair(*p) for p in row_questions(table) if not self._same(*p)}
        size = len(asked) if contrasts else 0
        effects = dict(
            zip(
                contrasts,
                stats.family(
                    list(contrasts.values()),
                    margin=self.margin,
                    alpha=self.alpha,
                    higher_is_better=self.metric.higher_is_better,
                    waiting=max(0, size - len(contrasts)),
                ),
                strict=True,
            )
        )
        deltas: list[Comparison | None] = [None] * len(table.rows)
        verdicts = [Said()] * len(table.rows)
        for i, reference in pairs:
            if not self._same(i, reference):
                deltas[i] = self._comparison(i, reference, effects)
            verdicts[i] = self._verdict(i, reference, effects)
        verdicts[self.baseline] = self._lack(self.baseline) or verdicts[self.baseline]
        bases = tuple(
            None if self._same(i, self.baseline) else self._comparison(i, self.baseline, {})
            for i in range(len(table.rows))
        )
        total = None
        if wants_total and not self._same(*ends):
            said = self._verdict(*ends, effects)
            delta = self._comparison(*ends, effects)
            label = f"all {steps} tricks" if steps > 1 else "in total"
            total = Total(label, delta, said.text, said.mark, said.dagger, None)
        told = tuple(self._told(i, r) for i, r in enumerate(self.references))
        errors = tuple(c.se for c in contrasts.values() if c.se is not None)
        sure = sorted((c for c in contrasts.values() if c.se), key=lambda c: c.se or 0)
        worst = sure[-1] if sure else None
        compared = [c for c in (*contrasts.values(), *told) if c is not None]
        freedom = [c.df for c in compared if c.se is not None]
        return Judged(
            fitted=self.fitted,
            references=tuple(self.references),
            baseline=self.baseline,
            deltas=tuple(deltas),
            bases=bases,
            verdicts=tuple(verdicts),
            total=total,
            ends=ends,
            comparisons=size,
            df=min(freedom, default=None),
            df_most=max(freedom, default=None),
            detectable=detectable(worst, size, self.alpha),
            detectable_best=detectable(sure[0] if sure else None, size, self.alpha),
            seeds_needed=needed(self.fitted, worst, size, self.margin, self.alpha),
            seeds_range=needed_range(self.fitted, worst, size, self.margin, self.next_alpha),
            exact_agreement=self.fit.phi is None and self.fit.df > 0 and bool(compared),
            standard_errors=errors,
            contrasts=told,
            total_contrast=self._told(*ends) if wants_total else None,
        )

    def _pair(self, row: int, reference: int) -> tuple[int, int]:
        return self.fitted.place[row], self.fitted.place[reference]

    def _same(self, row: int, reference: int) -> bool:
        return self.fitted.place[row] == self.fitted.place[reference]

    def _judgeable(self, row: int, reference: int) -> bool:
        """Both rows are complete but for diverged seeds, and several seeds are declared."""
        complete = not (self.missing[row] or self.missing[reference])
        return len(self.table.seeds) > 1 and complete and not self._same(row, reference)

    def _contrast(self, pair: tuple[int, int]) -> stats.Contrast | None:
        return self.fit.difference(*pair)

    def _told(self, row: int, reference: int | None) -> stats.Contrast | None:
        """The contrast of two rows that may be judged, None else."""
        if reference is None or not self._judgeable(row, reference):
            return None
        return self._contrast(self._pair(row, reference))

    def _comparison(
        self, row: int, reference: int, effects: dict[tuple[int, int], stats.Effect]
    ) -> Comparison:
        both = np.isfinite(self.values[row]) & np.isfinite(self.values[reference])
        shared = int(both.sum())
        apart = self.values[row][both] - self.values[reference][both]
        plain = Comparison(
            reference,
            shared,
            float(apart.mean()) if shared else None,
            diverged_p=cells.diverged_p(self.grid[row], self.grid[reference], self.metric),
        )
        if len(self.table.seeds) == 1:
            return replace(plain, band=self._band(row, reference) if shared else None)
        if not self._judgeable(row, reference):
            return plain
        contrast = self._contrast(self._pair(row, reference))
        if contrast is None:
            return plain
        effect = effects.get(self._pair(row, reference)) or stats.effect(contrast, alpha=self.alpha)
        found = replace(plain, delta=effect.delta, effect=effect)
        if self._lack(row) or self._lack(reference):
            return found  # a new seed may diverge too
        wins = stats.wins(
            contrast, higher_is_better=self.metric.higher_is_better, level=1 - self.alpha
        )
        return replace(found, wins=wins)

    def _band(self, row: int, reference: int) -> float | None:
        if not (self.metric.of_examples and self.examples):
            return None
        error_a, error_b = (self.metric.error(float(self.values[i][0])) for i in (row, reference))
        return stats.rerun_band(error_a, error_b, self.examples)

    def _verdict(
        self, row: int, reference: int, effects: dict[tuple[int, int], stats.Effect]
    ) -> Said:
        """What a comparison may claim: nothing where either side lacks a seed."""
        if own := self._lack(row):
            return own
        if self._same(row, reference):
            return Said("=", "=")
        if other := self._lack(reference):
            return replace(other, text=f"reference {other.text}")
        effect = effects.get(self._pair(row, reference))
        if effect is None or effect.verdict is None:
            return Said()
        dagger = effect.excludes_zero and effect.verdict in ("equivalent", "unresolved")
        return Said(effect.verdict, MARKS[effect.verdict], dagger)

    def _lack(self, row: int) -> Said | None:
        """What a row lacks of its seeds, None where it has them all."""
        seeds = len(self.table.seeds)
        if cells.no_effect(self.grid[row]):
            return Said("no effect", "no effect")
        if self.diverged[row]:
            return Said(f"diverged ({self.diverged[row]} of {seeds})", "diverged")
        if self.missing[row]:
            return Said(f"incomplete ({seeds - self.missing[row]} of {seeds} seeds)", "incomplete")
        return None


def detectable(worst: stats.Contrast | None, family: int, alpha: float) -> float | None:
    """The smallest difference that the family's least certain comparison could see."""
    if worst is None or worst.se is None:
        return None
    return stats.smallest_detectable(worst.se, worst.df, family, alpha=alpha)


def needed(
    fitted: Fitted,
    worst: stats.Contrast | None,
    family: int,
    margin: float,
    alpha: float,
    most_df: int | None = None,
) -> int | None:
    """The seeds with which that comparison could see the margin; most_df: see `questions`."""
    if worst is None or worst.variance_per_seed is None:
        return None
    rows = len(fitted.fit.values)
    return stats.seeds_needed(
        worst.variance_per_seed, rows, family, margin, alpha=alpha, most_df=most_df
    )


def needed_range(
    fitted: Fitted,
    worst: stats.Contrast | None,
    family: int,
    margin: float,
    alpha: float,
    most_df: int | None = None,
) -> stats.SeedsRange | None:
    """The same as far as the noise is known, at the level of the look that they would be for."""
    if worst is None or worst.variance_per_seed is None:
        return None
    rows, variance = len(fitted.fit.values), worst.variance_per_seed
    return stats.seeds_range(variance, worst.df, rows, family, margin, alpha=alpha, most_df=most_df)
