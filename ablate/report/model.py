"""The one table model that every format prints: plain, frozen, unrounded.

Accuracies and their differences are fractions here; `Metric.scale` turns them into percent and
points. What a number means, and when it may be shown, is decided here and never in a format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ablate.core.metrics import Metric
from ablate.core.resolved_study import SET_KINDS
from ablate.core.table_looks import TableLook
from ablate.stats import Effect, Ratio, SeedsRange, Wins

if TYPE_CHECKING:
    from ablate.core.resolved_study import Tuning, Until
    from ablate.report.published.data import Published, PublishedCell
    from ablate.store.curves import Curves


class TrialResultLike(Protocol):
    """What a report needs of `ablate.store.store.TrialResult`.

    final: metrics of the last epoch. curves: what its epochs come to. environment: "device_name",
    "device", "host", "torch", "ablate", "shared_device". summary: "examples", the number of test
    images, "precision", such as "float16", and the trained model's "parameters" and "macs", missing
    or None where they are not known.
    """

    @property
    def final(self) -> Mapping[str, float]:
        """Metrics of the last epoch."""

    @property
    def curves(self) -> Curves:
        """Number and times of the epochs, and which curves are the same."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Machine and versions."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """What the engine said at the end."""

    @property
    def started(self) -> str:
        """ISO 8601, UTC."""

    @property
    def finished(self) -> str:
        """ISO 8601, UTC."""


class TrialStateLike(Protocol):
    """What a report needs of `ablate.store.store.TrialState`."""

    @property
    def status(self) -> str:
        """One of `ablate.store.store.Status`."""

    @property
    def message(self) -> str:
        """Why it ended."""


Mark = Literal[
    "",
    "gain",
    "loss",
    "more together",  # of interactions
    "less together",
    "equivalent",
    "unresolved",
    "incomplete",
    "diverged",
    "no effect",
    "=",
]


JUDGED: frozenset[Mark] = frozenset({"gain", "loss", "equivalent", "unresolved"})


@dataclass(frozen=True)
class SeedValue:
    """One trial of a row. values: metrics of the last epoch; empty if it is not done.

    epoch_seconds: median without the first epoch, None where it may not be compared. parameters:
    trained ones of the model. macs: multiply-adds of one test image. images_per_second: of
    training, from `epoch_seconds`.
    """

    seed: int
    key: str
    status: str
    message: str
    values: Mapping[str, float]
    epoch_seconds: float | None
    started: str
    finished: str
    environment: Mapping[str, Any]
    parameters: int | None = None
    macs: int | None = None
    images_per_second: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A row against another row of its table.

    reference: index of that row. shared: seeds that both have. delta: mean difference; None where
    they share no seed. effect: interval and tests; None for one seed and for incomplete rows.
    band: half-width of re-run noise, for one seed. wins: how often the row would beat that row at a
    new seed; None where the noise is unknown. diverged_p: that both rows diverge equally often, by
    Fisher's exact test; None where no seed of either did.
    """

    reference: int
    shared: int
    delta: float | None
    effect: Effect | None = None
    band: float | None = None
    wins: Wins | None = None
    diverged_p: float | None = None


@dataclass(frozen=True)
class Diverged:
    """How many of a row's trainings that came to an end diverged; low, high: of their share."""

    count: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class ReportRow:
    """One line of a table.

    n: seeds that are done. mean, sd: over them, None where n is too small. secondary: mean of the
    table's secondary metric. delta: against the table's reference, None for the reference itself
    and for `=` rows. base: against the baseline, unadjusted, without a verdict. verdict: as
    printed, mark: its kind. dagger: the interval leaves out 0 but the corrected test does not.
    seconds: epoch time, ratio: to the reference's. parameters: trained ones of the model, macs:
    multiply-adds of one test image; None where they are not known or the seeds disagree.
    images_per_second: of training, None wherever `seconds` is. published: what a publication has on
    this row, where one was asked for. diverged: None where no seed did.
    """

    label: str
    role: str
    tricks: tuple[str, ...]
    changes: str
    seeds: tuple[SeedValue, ...]
    n: int
    mean: float | None
    sd: float | None
    secondary: float | None
    delta: Comparison | None
    base: Comparison | None
    verdict: str
    mark: Mark
    dagger: bool
    seconds: float | None
    ratio: Ratio | None
    parameters: int | None = None
    macs: int | None = None
    images_per_second: float | None = None
    published: PublishedCell | None = None
    diverged: Diverged | None = None


@dataclass(frozen=True)
class Total:
    """The last row of the trunk against the baseline: one more comparison of the family."""

    label: str
    delta: Comparison
    verdict: str
    mark: Mark
    dagger: bool
    ratio: Ratio | None


@dataclass(frozen=True)
class BlockCell:
    """A number of a block, in the metric's own unit, with its interval where there is one.

    effect: all that was computed of it, for formats that print everything. log_odds: the same of an
    interaction on log-odds.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    effect: Effect | None = None
    log_odds: Effect | None = None


@dataclass(frozen=True)
class BlockLine:
    """One line of a block: a trick, a pair of tricks, a class. word: "less together, in points
    only"."""

    label: str
    cells: tuple[BlockCell | None, ...]
    verdict: str = ""
    mark: Mark = ""
    dagger: bool = False
    word: str = ""


@dataclass(frozen=True)
class Block:
    """Numbers that come from several rows of a table or from several tables, printed below one.

    name: for JSON and CSV, such as "factorial", "shapley", "attribution", "data_sets",
    "new_images", "classes". title: its heading in words. heads: of the cells' columns. signed:
    whether cells are differences, else values. values: columns of a signed block whose cells are
    values all the same. worded: the column that the words are about, where it is not the judged or
    the last one. judged: the column that the verdicts are about, None
    where nothing is judged. comparisons: size of that family. caption: sentences below it, what the
    intervals are and what they leave out.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    lines: tuple[BlockLine, ...]
    signed: bool = True
    judged: int | None = None
    comparisons: int = 0
    caption: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    worded: int | None = None

    def differs(self, column: int) -> bool:
        """Whether a column's cells are differences, printed with their sign."""
        return self.signed and column not in self.values


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from.

    machines: (how many, name). epochs: None where rows differ. limit: images that were used of a
    split, None for all.
    """

    headline: str
    command: str
    settings: tuple[str, ...]  # "resnet50_v1", "batch 64", "160 px", "fast numerics"
    epochs: int | None
    machines: tuple[tuple[int, str], ...]
    torch: tuple[str, ...]
    ablate: tuple[str, ...]
    limit: int | None = None


@dataclass(frozen=True)
class ReportTable:
    """One ablation on one data set and one column of `over`: one family of comparisons.

    ablation: "" when it is the study's only one. baseline: index of the baseline's row.
    comparisons: of rows; a block counts its own. df, df_most: smallest and largest of its
    comparisons; detectable, seeds_needed: of the least certain one, detectable_best: of the surest;
    None without one.
    seeds_range: the same as far as the noise is known, at the level of the next look. margin,
    detectable: in the unit printed (points). examples: test images, None if unknown. notes: what a
    reader must know, in words. failures: a line for each trial that failed. paper: the publication
    that the rows are printed beside. blocks: what follows from several rows or tables, printed
    below this one. margin: 0 where none is declared for the metric, so that nothing is called
    equivalent. against: label of the row that all others are compared with where a reader asked for
    that, else "". declared: the study's metric where a reader asked for another, else "". until:
    the look of an `--until` run, whose level `alpha` is. look: which look at this table it is, None
    where nobody counts them. tuning: what each row chose its settings
    among; chosen: (row, what its seeds chose), in words.
    """

    study: str
    ablation: str
    dataset: str
    column: str
    kind: str
    reference: Literal["above", "baseline", "full"]
    transpose: bool
    metric: Metric
    secondary: Metric | None
    seeds: tuple[int, ...]
    margin: float
    alpha: float
    rows: tuple[ReportRow, ...]
    baseline: int
    total: Total | None
    comparisons: int
    df: float | None
    df_most: float | None
    detectable: float | None
    detectable_best: float | None
    seeds_needed: int | None
    seeds_range: SeedsRange | None
    exact_agreement: bool
    decimals: int
    examples: int | None
    notes: tuple[str, ...]
    failures: tuple[str, ...]
    provenance: Provenance
    paper: Published | None = None
    blocks: tuple[Block, ...] = ()
    against: str = ""
    declared: str = ""
    until: Until | None = None
    look: TableLook | None = None
    tuning: Tuning | None = None
    chosen: tuple[tuple[str, str], ...] = ()

    @property
    def one_seed(self) -> bool:
        """Whether the study declares one seed only: no interval, no verdict."""
        return len(self.seeds) == 1

    @property
    def compares(self) -> bool:
        """Whether it has a row to compare: a stack may be empty, for the baseline alone."""
        return len(self.rows) > 1

    @property
    def has_verdicts(self) -> bool:
        """Whether a row may have a verdict; those of a factorial and of orderings stand in a block
        below the table, and their rows say only what is missing."""
        judges = self.compares and self.kind not in SET_KINDS
        return judges or any(row.verdict for row in self.rows)

    @property
    def unresolved(self) -> bool:
        """Whether more seeds could settle something: a row, the total, or a line of a block."""
        lines = (line for block in self.blocks for line in block.lines)
        return any(one.mark == "unresolved" for one in (*self.judged, *lines))

    @property
    def said(self) -> list[tuple[str, str]]:
        """(row, verdict) of each row, the total and each line that was judged."""
        lines = [(f"{b.title}: {one.label}", one) for b in self.blocks for one in b.lines]
        every = [*((one.label, one) for one in self.judged), *lines]
        return [(name, one.verdict) for name, one in every if one.mark in JUDGED]

    @property
    def fits_around(self) -> bool:
        """Whether some difference is no mean over the seeds that both rows have: where one
        diverged, it is the fit's."""
        rows = (found for row in self.rows for found in (row.delta, row.base))
        compared = [*rows, *([self.total.delta] if self.total else [])]
        return any(c and c.effect and c.shared < len(self.seeds) for c in compared)

    @property
    def has_base(self) -> bool:
        """Whether the differences to the baseline are a column of their own."""
        if not self.compares:
            return False
        others = (row.delta.reference for row in self.rows if row.delta and row.base)
        return self.reference == "above" or any(other != self.baseline for other in others)

    @property
    def costs_differ(self) -> bool:
        """Whether some row's model has other parameters or multiply-adds than another's."""
        sizes = {row.parameters for row in self.rows} - {None}
        works = {row.macs for row in self.rows} - {None}
        return len(sizes) > 1 or len(works) > 1

    @property
    def judged(self) -> tuple[ReportRow | Total, ...]:
        """The rows, and the total after them."""
        return (*self.rows, self.total) if self.total else self.rows
