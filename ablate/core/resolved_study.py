"""A resolved study: every table, row and trial, as plain data.

`design` makes it from a study and the installed tricks; `ablate run` trains what is missing of it
and saves it in the store (`studies/<name>/<invocation>.json`); `report` and `status` need nothing
else, neither the TOML nor the plugins. No torch here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ablate.core.recipe import Frozen
from ablate.core.trial import Trial
from ablate.util.text import name_key

# The newest format of a saved study that this reads. 1: every row of a tuned table chose once. 2:
# its seeds choose for themselves, which an older release would take for a damaged file.
STUDY_FORMAT = 2

Kind = Literal["cumulative", "leave_one_out", "one_at_a_time", "factorial", "orderings"]
# Kinds whose rows are sets that are judged together, not each by itself.
SET_KINDS: tuple[Kind, ...] = ("factorial", "orderings")


class Tuning(Frozen):
    """Settings that every row of a table chooses among for itself, on held-out training images.

    options: as declared, {"lr": {"factor": 0.3}} or {"lr": 0.1}. labels: each in words, "lr × 0.3".
    words: all of them, "lr chosen of 0.3, 1, 3 × 0.1". held_out: one in so many training images is
    held out. seed: that every option is trained with where a row chooses once, for all its seeds;
    None where every seed chooses for itself, on a part of train of its own. Studies that were
    stored when rows could only choose once have its 0.
    """

    options: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]
    words: str
    held_out: int
    seed: int | None = 0

    @property
    def settings(self) -> tuple[str, ...]:
        """What is chosen: ("lr",)."""
        return tuple(self.options[0])

    @property
    def once(self) -> bool:
        """Whether a row chooses once, so that what is said of it is said of what it chose."""
        return self.seed is not None


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


def unchosen_in_words(settings: Sequence[str], reasons: Iterable[str | None]) -> str:
    """ "lr not chosen yet", "lr not chosen: every setting diverged (1 of 3 seeds)".

    reasons: of each seed, None of one that has its settings.
    """
    said = [
        None if why is None else "not chosen yet" if why == NOT_YET else f"not chosen: {why}"
        for why in reasons
    ]
    return f"{' and '.join(settings)} {by_seeds(said)}"


def by_seeds(values: Iterable[str | None]) -> str:
    """ "0.3 (2 of 3 seeds), 0.1 (1 of 3)", the most frequent first; "0.3" where all seeds agree.

    values: of each seed, None of one without.
    """
    every = list(values)
    counts = Counter(value for value in every if value is not None)
    if len(counts) == 1 and None not in every:
        return next(iter(counts))
    parts: list[str] = []
    for value, count in counts.most_common():
        parts.append(f"{value} ({count} of {len(every)}{'' if parts else ' seeds'})")
    return ", ".join(parts)


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
    attribution adds and subtracts. tuning: of a table that tunes, for each seed the trials of
    `Tuning.options` that it chooses by, the same for every row that is the same; those of all seeds
    are the same where a row chooses once. chosen: for each seed which option is in `keys`; None
    before it is known, and where it cannot be: `unchosen` says why, and the key is nobody's.
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
    tuning: tuple[tuple[str, ...], ...] = ()
    chosen: tuple[int | None, ...] = ()
    unchosen: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _for_each_seed(cls, value: Any) -> Any:
        """As it was stored when a row could only choose once: its trials, its choice, its reason.
        Rows that choose nothing had a None there."""
        if not isinstance(value, dict) or isinstance(value.get("chosen", ()), list | tuple):
            return value
        keys, tuning = value.get("keys"), value.get("tuning")
        count = len(keys) if isinstance(keys, list | tuple) and tuning else 0
        each = {name: [value.get(name)] * count for name in ("tuning", "chosen")}
        return value | each | {"unchosen": [value.get("unchosen", "")] * count}

    @model_serializer(mode="wrap")
    def _as_before(self, serialised: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """In that shape where all seeds have one choice, or none is to be made: releases that know
        no other read these."""
        document: dict[str, Any] = serialised(self)
        if not self.tuning:
            document |= {"chosen": None, "unchosen": ""}
        elif len(set(zip(self.tuning, self.chosen, self.unchosen, strict=True))) == 1:
            document |= {name: document[name][0] for name in ("tuning", "chosen", "unchosen")}
        return document

    @property
    def open(self) -> tuple[bool, ...]:
        """For each seed whether its settings are not chosen, so that nothing of it can be trained
        or reported."""
        return tuple(choice is None for choice in self.chosen) or (False,) * len(self.keys)

    @property
    def reasons(self) -> tuple[str | None, ...]:
        """For each seed why nothing is chosen, None where something is."""
        pairs = zip(self.chosen, self.unchosen, strict=True)
        return tuple(why if choice is None else None for choice, why in pairs)

    @property
    def trained(self) -> tuple[str, ...]:
        """`keys` without those of seeds that have no settings."""
        return tuple(key for key, is_open in zip(self.keys, self.open, strict=True) if not is_open)

    @property
    def choosing(self) -> tuple[str, ...]:
        """Every trial that its settings are chosen by, once."""
        return tuple(dict.fromkeys(key for keys in self.tuning for key in keys))

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

    format: 2 where seeds choose settings for themselves, else 1. headline: the recipe in words,
    "resnet50_v1 · 20 epochs · batch 64 · lr 0.025 · 160 px".
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
                named |= {*row.keys, *row.choosing}
                places = [place for place in (row.above, row.same_as) if place is not None]
                if len(row.keys) != len(table.seeds) or not all(0 <= p < count for p in places):
                    return False
                if not _is_whole_choice(row, table.tuning):
                    return False
            if not count or not all(0 <= p < count for order in table.orders for p in order):
                return False
        looks = self.until is None or 0 < self.until.number <= len(self.until.looks)
        return looks and named <= self.trials.keys() and named <= self.labels.keys()

    @property
    def tuning(self) -> tuple[str, ...]:
        """Keys of the trials that settings are chosen by, in the order of the tables."""
        rows = (row for table in self.tables for row in table.rows)
        return tuple(dict.fromkeys(key for row in rows for key in row.choosing))


def _is_whole_choice(row: Row, tuning: Tuning | None) -> bool:
    """Whether every seed has a trial for each option, and chose one that there is."""
    options = 0 if tuning is None else len(tuning.options)
    seeds = len(row.keys) if options else 0
    if {len(row.tuning), len(row.chosen), len(row.unchosen)} != {seeds}:
        return False
    return all(len(keys) == options for keys in row.tuning) and all(
        0 <= (index or 0) < options for index in row.chosen
    )
