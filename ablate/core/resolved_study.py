"""A resolved study: every table, row and trial, as plain data.

`design` makes it from a study and the installed tricks; `ablate run` trains what is missing of it
and saves it in the store (`studies/<name>/<invocation>.json`); `report` and `status` need nothing
else, neither the TOML nor the plugins. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from ablate.core.recipe import Frozen
from ablate.core.trial import Trial
from ablate.util.text import name_key

Kind = Literal["cumulative", "leave_one_out", "one_at_a_time", "factorial", "orderings"]
# Kinds whose rows are sets that are judged together, not each by itself.
SET_KINDS: tuple[Kind, ...] = ("factorial", "orderings")


class Tuning(Frozen):
    """Settings that every row of a table chooses among for itself, on held-out training images.

    options: as declared, {"lr": {"factor": 0.3}} or {"lr": 0.1}. labels: each in words, "lr × 0.3".
    words: all of them, "lr chosen of 0.3, 1, 3 × 0.1". held_out: one in so many training images is
    held out. seed: that every option is trained with.
    """

    options: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]
    words: str
    held_out: int
    seed: int = 0

    @property
    def settings(self) -> tuple[str, ...]:
        """What is chosen: ("lr",)."""
        return tuple(self.options[0])


class Until(Frozen):
    """`--until resolved`: the looks planned beforehand, and at which of them this is.

    looks: (seeds, level) of each. number: from 1.
    """

    looks: tuple[tuple[int, float], ...]
    number: int = 1

    @property
    def seeds(self) -> int:
        """Of every row at this look."""
        return self.looks[self.number - 1][0]

    @property
    def alpha(self) -> float:
        """Level of this look's tests and intervals."""
        return self.looks[self.number - 1][1]

    @property
    def most(self) -> int:
        """Seeds of the last look."""
        return self.looks[-1][0]

    def next(self) -> Until | None:
        """The look after this one, None after the last."""
        if self.number == len(self.looks):
            return None
        return self.model_copy(update={"number": self.number + 1})

    def __str__(self) -> str:
        level = f"{self.alpha:.3f}".removeprefix("0")
        return f"look {self.number} of {len(self.looks)} at {self.seeds} seeds, α = {level}"


NOT_YET = "not yet"  # of a row whose settings can still be chosen


def unchosen_in_words(settings: Sequence[str], reason: str) -> str:
    """ "lr not chosen yet", "lr not chosen: every setting diverged"."""
    names = " and ".join(settings)
    return f"{names} not chosen yet" if reason == NOT_YET else f"{names} not chosen: {reason}"


class Row(Frozen):
    """One line of a table: a variant on one data set.

    label: as printed, "baseline", "+ warmup", "without mixup", "mixup_01"; for the base of a table
    with `base` tricks their names. tricks: aliases of the configured tricks in force. role:
    "baseline", "step" (on the trunk), "branch" (added to the trunk, not carried on) or "control" (a
    trick's side changes without the trick). above: index of the row this one is compared with in a
    cumulative table (the trunk's last row for a branch and a control; a trick with a control is
    compared with the control), None for the baseline. keys: the trial of each seed, in the order of
    `Table.seeds`. changes: what differs from `above`, in words. same_as: index of an earlier row
    that resolves to the same trials, printed "=". settings: differences of the resolved recipe from
    the row above's, {"batch_size": [256, 1024]}. factors: of `Table.factors`, those in force; what
    attribution adds and subtracts. tuning: of a table that tunes, the trial of each of
    `Tuning.options`, the same for every row that is the same. chosen: which option is in `keys`;
    None before it is known, and where it cannot be: `unchosen` says why, and the keys are nobody's.
    """

    label: str
    tricks: tuple[str, ...]
    role: Literal["baseline", "step", "branch", "control"]
    above: int | None
    keys: tuple[str, ...]
    changes: str = ""
    same_as: int | None = None
    settings: dict[str, tuple[Any, Any]] = Field(default_factory=dict)
    factors: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()
    chosen: int | None = None
    unchosen: str = ""

    @property
    def open(self) -> bool:
        """Whether its settings are not chosen, so that nothing of it can be trained or reported."""
        return bool(self.tuning) and self.chosen is None

    @property
    def answers_to(self) -> frozenset[str]:
        """What it is called before anything else: its label with and without the +, as
        `name_key`s. No two rows of different trials may share one."""
        return frozenset({name_key(self.label), name_key(self.label.removeprefix("+ "))})


class Table(Frozen):
    """One ablation on one data set and one column of `over`: its own family of comparisons.

    reference: what a row's Δ is to: "above" (cumulative), "baseline" (one at a time), "full"
    (leave one out). column: the `over` settings in words ("batch_size 256"), "" without `over`.
    total: whether the last trunk row is also compared with the baseline ("all 4 tricks"). factors:
    labels of the stack's entries, "warmup" or "distill + mixup", each of which is in force in a row
    or not. orders: of a table of orderings, the rows that each order goes through, the baseline's
    first; empty otherwise. tuning: what its rows choose among, None where nothing is tuned.
    """

    ablation: str
    kind: Kind
    dataset: str
    column: str
    reference: Literal["above", "baseline", "full"]
    transpose: bool = False
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    total: bool = True
    factors: tuple[str, ...] = ()
    orders: tuple[tuple[int, ...], ...] = ()
    tuning: Tuning | None = None

    @property
    def judges_rows(self) -> bool:
        """Whether each row has a question of its own; else the table asks of all rows together."""
        return self.kind not in SET_KINDS


class ResolvedStudy(Frozen):
    """Everything `ablate run` was asked for, with every key.

    headline: the recipe in words, "resnet50_v1 · 20 epochs · batch 64 · lr 0.025 · 160 px".
    file: as the user named it; toml: its text with those it extends, by path. trials: the
    definition of every key, teachers included; `labels` says where each is first used:
    "imagenette · + warmup · seed 0". order: keys in the order of work, teachers before those who
    need them, seed 0 of every row first, then seed 1 of every row, and so on. graphs: a number for
    every key, the same for trials whose models compile to the same graphs (`design.ordering`); none
    of older studies. until: the look of an `--until` run, whose level the report's tests and
    intervals then have.
    """

    format: int = 1
    name: str
    file: str
    toml: dict[str, str]
    overrides: tuple[str, ...] = ()
    command: str
    headline: str
    seeds: tuple[int, ...]
    margin: float
    metric: str
    tables: tuple[Table, ...]
    trials: dict[str, Trial]
    labels: dict[str, str]
    order: tuple[str, ...]
    graphs: dict[str, int] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    until: Until | None = None

    def is_whole(self) -> bool:
        """Whether everything that its tables and its order name is there; one that was read from a
        file need not be."""
        named = set(self.order)
        for table in self.tables:
            count = len(table.rows)
            for row in table.rows:
                named |= {*row.keys, *row.tuning}
                places = [place for place in (row.above, row.same_as) if place is not None]
                if len(row.keys) != len(table.seeds) or not all(0 <= p < count for p in places):
                    return False
                options = 0 if table.tuning is None else len(table.tuning.options)
                if len(row.tuning) != options or not 0 <= (row.chosen or 0) < max(options, 1):
                    return False
            if not count or not all(0 <= p < count for order in table.orders for p in order):
                return False
        looks = self.until is None or 0 < self.until.number <= len(self.until.looks)
        return looks and named <= self.trials.keys() and named <= self.labels.keys()

    @property
    def tuning(self) -> tuple[str, ...]:
        """Keys of the trials that settings are chosen by, in the order of the tables."""
        rows = (row for table in self.tables for row in table.rows)
        return tuple(dict.fromkeys(key for row in rows for key in row.tuning))
