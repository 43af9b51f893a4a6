"""From a study to every table, row and trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Literal

from ablate.core.resolved_study import SET_KINDS, Row, Table, Tuning
from ablate.core.trial import DatasetRef, Numerics, Trial
from ablate.data.catalogue import dataset_info
from ablate.design.descriptions import changes_between
from ablate.design.rows import RowPlan, RowProblem, factor_labels, has_total, order_rows, plan_rows
from ablate.design.text import column_in_words, differences
from ablate.design.tuning_grid import (
    TENTH,
    Choice,
    Choose,
    choices_in_words,
    in_words,
    option_in_words,
    options,
    provisional,
    tuning_trial,
)
from ablate.design.uncalled import Own
from ablate.design.updates import Updates
from ablate.design.variants import Variant, resolve_variant
from ablate.errors import AblateError, DataError, Problem, StudyError
from ablate.study.model import Ablation, Settings, Study
from ablate.study.toml_positions import Path
from ablate.tricks.guard import contained

if TYPE_CHECKING:
    from ablate.data.catalogue import DatasetInfo

REFERENCES: dict[str, Literal["above", "baseline", "full"]] = {
    "cumulative": "above",
    "one_at_a_time": "baseline",
    "leave_one_out": "full",
    "factorial": "baseline",
    "orderings": "baseline",
}
_ONE_ROW = "keep one of them in the stack: this kind puts every two of its entries in one row"


@dataclass(frozen=True)
class _RowTrials:
    """One row. variants, trials: of each seed, the trial with the study's first; seeds may differ
    in what they chose. keys: for each seed, of the trials that it chooses by; choices: of each
    seed. bases: what factors multiply. Without `tune` all three are empty."""

    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    keys: tuple[tuple[str, ...], ...] = ()
    choices: tuple[Choice, ...] = ()
    bases: Settings = field(default_factory=dict)


class Planner:
    """One study's trials while they are being collected; problems are collected too."""

    def __init__(
        self,
        study: Study,
        data_root: FilePath | None,
        numerics: Numerics,
        allow_missing: bool,
        need_files: bool,
        choose: Choose,
        own: Own,
    ) -> None:
        self.study = study
        self.data_root = data_root
        self.numerics = numerics
        self.allow_missing = allow_missing
        self.need_files = need_files
        self.choose = choose
        self.own = own
        self.problems: dict[Problem, None] = {}
        self.warnings: dict[str, None] = {}
        self.trials: dict[str, Trial] = {}
        self.labels: dict[str, str] = {}
        self._infos: dict[str, DatasetInfo] = {}
        self._refs: dict[tuple[str, int], DatasetRef] = {}
        self._images: dict[tuple[str, int], int | None] = {}  # to train on, where that is known
        self._first: dict[str, tuple[Variant, Trial]] = {}
        self._teachers: dict[tuple[str, str], str] = {}

    def refuse(self, path: Path, message: str, hint: str | None = None) -> None:
        """Note a problem; the same one in several tables is one."""
        self.problems[self.study.document.problem(path, message, hint=hint)] = None

    def info(self, dataset: str) -> DatasetInfo:
        """What is known of a data set. Raises StudyError."""
        if dataset in self.own:
            return self.own[dataset].info
        if dataset not in self._infos:
            try:
                self._infos[dataset] = dataset_info(dataset)
            except AblateError as error:
                path: Path = ("study", "datasets", self.study.datasets.index(dataset))
                problem = self.study.document.problem(path, error.message, hint=error.hint)
                raise StudyError([problem]) from error
        return self._infos[dataset]

    def tables(self) -> list[Table]:
        """Every table; those with problems are left out."""
        tables = []
        for ablation in self.study.ablations:
            rows = plan_rows(self.study, ablation)
            self._check_columns(ablation)
            for dataset in self.study.datasets:
                found = [
                    table
                    for column in ablation.columns
                    if (table := self._table(ablation, rows, dataset, column)) is not None
                ]
                self._warn_of_equal_columns(found)
                tables += found
        return tables

    def _table(
        self, ablation: Ablation, plans: tuple[RowPlan, ...], dataset: str, column: Settings
    ) -> Table | None:
        words = column_in_words(column)
        made: list[_RowTrials] = []
        for plan in plans:
            try:
                made.append(self._row_trials(ablation, dataset, column, plan))
            except RowProblem as problem:
                path = problem.path or self._blamed(ablation, plan, problem.message)
                self.refuse(path, problem.message, self._hint(ablation, problem))
                if plan.role == "baseline" or (
                    plan.role == "step" and ablation.kind == "cumulative"
                ):
                    break  # the rows below have it too
        if len(made) < len(plans):
            return None
        rows: list[Row] = []
        said: set[str] = set()
        for plan, one in zip(plans, made, strict=True):
            keys = tuple(
                self._add(trial, seed, dataset, words, plan.label)
                for trial, seed in zip(one.trials, self.study.seeds, strict=True)
            )
            trial = one.trials[0]
            above = made[plan.above].trials[0] if plan.above is not None else None
            same = next((i for i, row in enumerate(rows) if row.keys == keys), None)
            changes, settings = "", {}
            if above is not None:
                changes = changes_between(above, trial, self.study.catalogue, skip=ablation.tune)
                settings = differences(above.recipe, trial.recipe)
            if one.keys:
                recipes = [trial.recipe for trial in one.trials]
                reasons = [None if c.index is not None else c.reason for c in one.choices]
                choice = choices_in_words(tuple(ablation.tune), recipes, reasons)
                changes = "; ".join(part for part in (changes, choice) if part)
            label = self._label(ablation, plan, one.variants[0])
            where = " · ".join(part for part in (dataset, words, label) if part)
            cautions = dict.fromkeys(text for v in one.variants for text in v.cautions)
            new = [text for text in cautions if text not in said]
            said.update(new)  # of rows that have the same, the first one's
            self.warnings |= dict.fromkeys(f"{where}: {text}" for text in new)
            rows.append(
                Row(
                    label=label,
                    tricks=tuple(label for label, _ in one.variants[0].tricks),
                    role=plan.role,
                    above=plan.above,
                    keys=keys,
                    changes=changes,
                    same_as=same,
                    settings=settings,
                    factors=plan.factors,
                    tuning=one.keys,
                    chosen=tuple(choice.index for choice in one.choices),
                    unchosen=tuple(choice.reason for choice in one.choices),
                )
            )
            self._check_label(rows, plan)
        return Table(
            ablation=ablation.name,
            kind=ablation.kind,
            dataset=dataset,
            column=words,
            reference=REFERENCES[ablation.kind],
            transpose=ablation.transpose,
            seeds=self.study.seeds,
            rows=tuple(rows),
            total=has_total(ablation, plans),
            factors=factor_labels(ablation),
            orders=order_rows(ablation),
            tuning=self._tuning(ablation, made),
        )

    def _row_trials(
        self, ablation: Ablation, dataset: str, column: Settings, plan: RowPlan
    ) -> _RowTrials:
        """The row, each seed of it with the settings that it chose; while it has none, the row
        without any stands in, with nobody's data."""
        plain, seeds = self._first_trial(dataset, column, plan), self.study.seeds
        if not ablation.tune:
            return _RowTrials((plain[0],) * len(seeds), (plain[1],) * len(seeds))
        every = [
            (option, *self._with_option(ablation, dataset, column, plan, option))
            for option in options(ablation.tune)
        ]
        keys, choices, found = [], [], []
        for seed in (0,) * len(seeds) if ablation.once else seeds:
            parts = ["held out"] if ablation.once else ["held out", f"seed {seed}"]
            tried = []
            for option, _, whole in every:
                trial = tuning_trial(whole, seed)
                words = [dataset, column_in_words(column), plan.label, option_in_words(option)]
                label = " · ".join(part for part in (*words, *parts) if part)
                self.trials.setdefault(trial.key, trial)
                self.labels.setdefault(trial.key, label)
                tried.append(trial.key)
            keys.append(tuple(tried))
            choices.append(choice := self.choose(keys[-1]))
            unknown = (plain[0], provisional(plain[1]))
            found.append(unknown if choice.index is None else every[choice.index][1:])
        variants, trials = zip(*found, strict=True)
        bases = every[0][1].bases
        return _RowTrials(variants, trials, tuple(keys), tuple(choices), bases)

    def _with_option(
        self,
        ablation: Ablation,
        dataset: str,
        column: Settings,
        plan: RowPlan,
        option: Settings,
    ) -> tuple[Variant, Trial]:
        """The row with one of the settings that it may choose."""
        try:
            return self._first_trial(dataset, column, plan, option)
        except RowProblem as problem:
            message = f"{option_in_words(option)}: {problem.message}"
            path = (*ablation.path, "tune")
            raise RowProblem(message, hint=problem.hint, path=path) from problem

    def _tuning(self, ablation: Ablation, rows: list[_RowTrials]) -> Tuning | None:
        if not ablation.tune:
            return None
        for key, values in ablation.tune.items():
            if key in self.study.final and not isinstance(values, Mapping):
                text = f"--set recipe.{key} does not hold in {ablation.name}, which chooses its own"
                self.warnings[text] = None
        every = options(ablation.tune)
        return Tuning(
            options=every,
            labels=tuple(option_in_words(option) for option in every),
            words=in_words(ablation.tune, [row.bases for row in rows]),
            held_out=TENTH,
            seed=0 if ablation.once else None,
        )

    @staticmethod
    def _hint(ablation: Ablation, problem: RowProblem) -> str | None:
        """The problem's own, but for a branch where every entry is one already."""
        branch = problem.hint is not None and "in a branch" in problem.hint
        return _ONE_ROW if branch and ablation.kind in SET_KINDS else problem.hint

    def _label(self, ablation: Ablation, plan: RowPlan, variant: Variant) -> str:
        """The plan's; of a baseline without those names of `base` that this model drops."""
        if plan.role != "baseline" or ablation.kind == "leave_one_out":
            return plan.label
        present = {label for label, _ in variant.tricks}
        kept = [label for label in ablation.base if present.intersection(self._names(label))]
        return " + ".join(kept) or "baseline"

    def _check_label(self, rows: list[Row], plan: RowPlan) -> None:
        """Refuse a row that another answers for: people name rows by label or number."""
        *above, row = rows
        name = 'give it another name, as in [tricks] NAME = { use = "mixup" }'
        if any(one.isdecimal() for one in row.answers_to):
            self.refuse(
                plan.item, f"a row would be called '{row.label}', which is a number; {name}"
            )
        twin = next((other for other in above if other.answers_to & row.answers_to), None)
        if twin is not None and twin.keys != row.keys:
            called = f"'{twin.label}'" + ("" if twin.label == row.label else f" and '{row.label}'")
            self.refuse(plan.item, f"two rows would be called {called}; {name}")

    def _first_trial(
        self, dataset: str, column: Settings, plan: RowPlan, option: Settings | None = None
    ) -> tuple[Variant, Trial]:
        """The row's variant, and its trial of the first seed."""
        # the set of names decides: neither their order nor the table they stand in
        parts = [dataset, dict(column), sorted(plan.active), sorted(plan.side), option]
        known = json.dumps(parts, sort_keys=True)
        if known not in self._first:
            variant = resolve_variant(
                self.study,
                dataset,
                self.info(dataset),
                column,
                plan.active,
                plan.side,
                option=option,
                need_files=self.need_files,
            )
            trial = self._trial(variant, dataset, self.study.seeds[0])
            variant = replace(variant, cautions=self._cautions(variant, dataset))
            self._first[known] = (variant, trial)
        return self._first[known]

    def _cautions(self, variant: Variant, dataset: str) -> tuple[str, ...]:
        """What its tricks are worth in a training of this length. Raises RowProblem for updates
        that step 1 would refuse."""
        recipe, images = variant.recipe, self._images[dataset, variant.image_size]
        steps = None if images is None else images // recipe.batch_size or None
        updates = Updates(recipe, variant.tricks, steps)
        try:
            updates.check()
            said = list(updates.words())
            if steps is not None:
                for _, trick in variant.tricks:
                    with contained(f"step_warnings of {trick.name}"):
                        said += trick.step_warnings(recipe, steps)
        except AblateError as error:
            raise RowProblem(error.message, hint=error.hint) from error
        return tuple(said)

    def _trial(self, variant: Variant, dataset: str, seed: int) -> Trial:
        self.warnings |= dict.fromkeys(variant.warnings)
        teachers = sorted(set(variant.teachers))
        if len(teachers) > 1:
            raise RowProblem(f"learns from {' and '.join(teachers)}; a row can have one teacher")
        return Trial(
            recipe=variant.recipe,
            dataset=self._ref(dataset, variant.image_size),
            tricks=variant.specs,
            numerics=self.numerics,
            seed=seed,
            teacher=self._teacher(teachers[0], dataset) if teachers else None,
        )

    def _teacher(self, name: str, dataset: str) -> str:
        """Key of the named trial on this data set."""
        if (name, dataset) not in self._teachers:
            named = self.study.trials[name]
            info = self.info(dataset)
            variant = resolve_variant(
                self.study,
                dataset,
                info,
                {},
                named.tricks,
                own=named.settings,
                need_files=self.need_files,
            )
            trial = self._trial(variant, dataset, named.seed)
            for text in self._cautions(variant, dataset):
                self.warnings[f"{dataset} · @{name}: {text}"] = None
            self._teachers[name, dataset] = self._add(trial, named.seed, dataset, "", f"@{name}")
        return self._teachers[name, dataset]

    def _add(self, trial: Trial, seed: int, dataset: str, column: str, label: str) -> str:
        trial = trial.model_copy(update={"seed": seed})
        key = trial.key
        self.trials.setdefault(key, trial)
        parts = [dataset, column, label, f"seed {seed}"]
        self.labels.setdefault(key, " · ".join(part for part in parts if part))
        return key

    def _ref(self, dataset: str, image_size: int) -> DatasetRef:
        from ablate.data.fingerprint import identify

        if (dataset, image_size) not in self._refs:
            limit = self.study.limit
            if dataset in self.own:
                self._images[dataset, image_size] = None
                self._refs[dataset, image_size] = self.own[dataset].ref_with(limit, image_size)
                return self._refs[dataset, image_size]
            images: int | None
            try:
                found = identify(dataset, image_size=image_size, root=self.data_root)
                self.warnings |= dict.fromkeys(found.notes)
                ref, images = found.ref(limit), found.counts[0]
            except DataError as error:
                message = f"{error.message}; {self.study.name} needs it"
                if not self.allow_missing:
                    raise DataError(message, where=error.where, hint=error.hint) from error
                self.warnings[message] = None
                ref = DatasetRef(
                    name=dataset,
                    fingerprint=f"missing: {dataset} at {image_size}",
                    decoder="missing",
                    limit=limit,
                    num_classes=self.info(dataset).num_classes,
                )
                published = self.info(dataset).counts
                images = published[0] if published else None
            within = images if limit is None or images is None else min(images, limit)
            self._images[dataset, image_size] = within
            self._refs[dataset, image_size] = ref
        return self._refs[dataset, image_size]

    def _blamed(self, ablation: Ablation, plan: RowPlan, message: str) -> Path:
        """The base, the first entry of the stack that the message names, or the row's own."""
        if plan.role == "baseline" and ablation.kind != "leave_one_out":
            return (*ablation.path, "base") if ablation.base else plan.item
        words = set(message.replace(",", " ").replace("'", " ").split())
        for item in ablation.stack:
            leaves = [spec for label in item.labels for spec in self._names(label)]
            if words & set(leaves):
                return item.path
        return plan.item

    def _names(self, label: str) -> list[str]:
        config = self.study.config(label)
        inner = [name for member in config.members for name in self._names(member)]
        return [label, config.trick, *inner]

    def _check_columns(self, ablation: Ablation) -> None:
        """Refuse columns that no reader could tell apart: 0.1 and 0.10000001."""
        words = [column_in_words(column) for column in ablation.columns]
        if twice := next((text for i, text in enumerate(words) if text in words[:i]), None):
            self.refuse((*ablation.path, "over"), f"two columns would be called '{twice}'")

    def _warn_of_equal_columns(self, tables: list[Table]) -> None:
        for number, table in enumerate(tables):
            for other in tables[:number]:
                if [row.keys for row in table.rows] == [row.keys for row in other.rows]:
                    text = (
                        f"{table.ablation}, {table.dataset}: columns '{other.column}' and "
                        f"'{table.column}' are the same trainings"
                    )
                    self.warnings[text] = None
