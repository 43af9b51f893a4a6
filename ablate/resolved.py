"""A resolved study: every table, row and trial, as plain data.

`design` makes it from a study and the installed tricks; `ablate run` trains what is missing of it
and saves it in the store (`studies/<name>/<invocation>.json`); `report` and `status` need nothing
else, neither the TOML nor the plugins. No torch here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ablate.recipe import Frozen
from ablate.trial import Trial

Kind = Literal["cumulative", "leave_one_out", "one_at_a_time", "factorial", "orderings"]
# Kinds whose rows are sets that are judged together, not each by itself.
SET_KINDS: tuple[Kind, ...] = ("factorial", "orderings")


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
    attribution adds and subtracts.
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


class Table(Frozen):
    """One ablation on one data set and one column of `over`: its own family of comparisons.

    reference: what a row's Δ is to: "above" (cumulative), "baseline" (one at a time), "full"
    (leave one out). column: the `over` settings in words ("batch_size 256"), "" without `over`.
    total: whether the last trunk row is also compared with the baseline ("all 4 tricks"). factors:
    labels of the stack's entries, "warmup" or "distill + mixup", each of which is in force in a row
    or not. orders: of a table of orderings, the rows that each order goes through, the baseline's
    first; empty otherwise.
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
    need them, seed 0 of every row first. graphs: a number for every key, the same for trials whose
    models compile to the same graphs (see `ablate.design.work`); none of older studies.
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
