"""`load_study`: a file and the command line's options to a `Study`, or every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictInt, StrictStr

from ablate.core.metrics import TOP1, metric_named
from ablate.core.recipe import Frozen, Number
from ablate.errors import AblateError, Problem, StudyError
from ablate.study.ablations import read_ablations
from ablate.study.document import Document, printable
from ablate.study.extends import read_document, with_options
from ablate.study.finder import find_study, is_part, study_name
from ablate.study.model import STALL_MINUTES, Study
from ablate.study.overrides import check_references, check_used, read_overrides, read_trials
from ablate.study.trick_configs import Names
from ablate.study.validator import Checker, alike, name_problem
from ablate.util.text import name_key

if TYPE_CHECKING:
    from ablate.tricks.discovery import Catalogue

MAX_SEEDS = 1000
MAX_TRIALS = 10_000
MOST_TRIALS = 1_000_000  # planning them takes some GB of memory
_TOP = ("extends", "study", "recipe", "tricks", "protocol", "ablation", "override", "trial")


class StudySection(Frozen):
    """`[study]`; `stack` is read with the ablations."""

    datasets: tuple[StrictStr, ...] = Field(description="names from `ablate datasets`")
    seeds: Annotated[StrictInt, Field(ge=1, le=MAX_SEEDS)] = Field(
        3, description="every row is trained with seeds 0 to seeds − 1"
    )
    stack: Any = Field(None, description="tricks in the order of the table's rows")
    max_trials: Annotated[StrictInt, Field(ge=1, le=MOST_TRIALS)] = Field(
        MAX_TRIALS, description="a study of more trials is refused, since nobody waits for those"
    )
    numerics: Literal["exact", "fast"] | None = Field(
        None, description="exact by default on a CPU, fast on a GPU"
    )
    plugins: tuple[StrictStr, ...] = Field(
        (), description="tricks by file, or a distribution that must be installed"
    )
    name: StrictStr | None = Field(None, description="the file's name by default")


class ProtocolSection(Frozen):
    """`[protocol]`: how trials are compared and watched; nothing here changes a training."""

    margin: Annotated[Number, Field(gt=0, le=100)] = Field(
        TOP1.margin or 0.0,
        description="differences within ± so many points count as equivalent; of a loss only if "
        "it is said, in the loss's unit",
    )
    metric: Literal["top1", "top5", "loss"] = Field("top1", description="what is compared")
    stall_minutes: Annotated[Number, Field(ge=0, le=100_000)] = Field(
        int(STALL_MINUTES),
        description="a trial without a sign of life for so long is ended; 0: never",
    )


def load_study(
    path: Path | str,
    *,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    datasets: Sequence[str] = (),
    limit: int | None = None,
    catalogue: Catalogue | None = None,
    bundled_only: bool = False,
) -> Study:
    """The study in a file, or of a name that ships with ablate, with the options applied.

    overrides: "recipe.epochs=5", as `--set` has them. seeds: 0 … seeds − 1 instead of the study's.
    datasets: these only. limit: images per split. catalogue: the tricks there are; by default the
    installed ones and the study's own plugins, which `bundled_only` leaves out.

    A file that others extend, `_NAME.toml`, may lack data sets, model and rows (`Study.part`).

    Raises `StudyError` with every problem of the file and of those it extends.
    """
    file = find_study(path)
    # what was typed is shown, unless it is a name and not the file's path
    shown = str(path) if Path(path).exists() else str(file)
    document, said = with_options(read_document(file, shown), overrides, seeds, datasets)
    check = Checker(document, bundled_only=bundled_only)
    table = document.table
    check.values(table)
    _check_top(check, table)
    _check_limit(check, limit)

    part = is_part(file)
    study_table = check.table(("study",), table.get("study", {}))
    if part:
        study_table = {"datasets": [], **study_table}
    study = check.model(StudySection, ("study",), study_table)
    if not part or study_table["datasets"] != []:
        _check_datasets(check, study_table.get("datasets"))
    name = study.name if study and study.name else study_name(file)
    _check_name(check, name, declared="name" in study_table)
    protocol = check.model(
        ProtocolSection, ("protocol",), check.table(("protocol",), table.get("protocol", {}))
    )
    recipe = check.settings(("recipe",), table.get("recipe", {}))
    if "model" not in recipe and not part:
        check.problem(("recipe", "model"), 'is missing; write model = "resnet18"', key=True)
    plugins = study.plugins if study else ()
    if catalogue is None:
        catalogue = _catalogue(check, document, plugins, bundled_only)
    names = Names(check, catalogue, plugins if bundled_only else ())
    names.read(check.table(("tricks",), table.get("tricks", {})))
    rules = read_overrides(check, names, table.get("override", []))
    trials = read_trials(check, names, table.get("trial", {}))
    check_references(check, names, trials)
    ablations = read_ablations(check, names, table, part=part)
    if not check.problems:
        check_used(check, names, said.get("tricks", {}), ablations, trials)
    if check.problems or study is None or protocol is None:
        raise StudyError(check.problems)
    # 0.5 is a choice about points of accuracy; what is negligible in a loss nobody has said
    said_margin = "margin" in protocol.model_fields_set
    margin = protocol.margin if said_margin else metric_named(protocol.metric).margin or 0.0
    return Study(
        name=name,
        file=str(path),
        path=file,
        overrides=tuple(overrides),
        datasets=study.datasets,
        seeds=tuple(range(study.seeds)),
        limit=limit,
        max_trials=study.max_trials,
        numerics=study.numerics,
        plugins=plugins,
        margin=float(margin),
        metric=protocol.metric,
        stall_minutes=float(protocol.stall_minutes),
        recipe=recipe,
        final=said.get("recipe", {}),
        final_params=_params_said(said.get("tricks", {})),
        tricks=names.configs,
        ablations=tuple(ablations),
        rules=tuple(rules),
        trials=trials,
        catalogue=catalogue,
        document=document,
    )


def stored_name(path: Path | str) -> str:
    """What a study file's runs are stored under, found without importing a trick.

    Raises `StudyError` for a file that cannot be read.
    """
    file = find_study(path)
    study = read_document(file, str(path)).table.get("study")
    said = study.get("name") if isinstance(study, Mapping) else None
    return said if isinstance(said, str) and said else study_name(file)


def _check_top(check: Checker, table: Mapping[str, Any]) -> None:
    for key in table:
        if key not in _TOP:
            check.unknown((key,), _TOP)


def _check_limit(check: Checker, limit: int | None) -> None:
    if limit is not None and limit < 1:
        message = f"{limit} is out of range; must be at least 1"
        check.problems.append(Problem(f"--limit {limit}", 0, "", message))


def _check_datasets(check: Checker, value: Any) -> None:
    if not isinstance(value, list):
        return  # the section's own fields say so
    path = ("study", "datasets")
    if not value:
        check.problem(path, 'is empty; write datasets = ["digits"]')
    for number, name in enumerate(value):
        if not isinstance(name, str):
            continue
        before = [other for other in value[:number] if isinstance(other, str)]
        if name in before:
            check.problem((*path, number), f"'{printable(name)}' stands twice")
        elif twin := next((n for n in before if name_key(n) == name_key(name)), None):
            check.problem((*path, number), alike(name, twin))
        else:
            check.dataset_name((*path, number), name)


def _check_name(check: Checker, name: str, declared: bool) -> None:
    """A study's name becomes a path in the store."""
    parts = name.split("/")
    wrong = next((problem for part in parts if (problem := name_problem(part))), None)
    if wrong is None and len(parts) <= 8:
        return
    message = wrong or "a name has at most 8 parts"
    if declared:
        check.problem(("study", "name"), message)
    else:
        check.problem(
            ("study", "name"), f"the file's name does not do for the study: {message}",
            hint='rename the file, or write name = "..." in [study]', key=True,
        )  # fmt: skip


def _catalogue(
    check: Checker, document: Document, plugins: Sequence[str], bundled_only: bool
) -> Catalogue:
    from ablate.tricks.discovery import load_catalogue

    declared_in = document.origin_of(("study", "plugins")).source.path
    base = declared_in.parent if declared_in is not None else Path()
    wanted = () if bundled_only else tuple(plugins)
    try:
        return load_catalogue(wanted, base=base, bundled_only=bundled_only)
    except AblateError as error:
        # blame the entry that fails by itself, else (two files with one trick's name) the list
        path: tuple[str | int, ...] = ("study", "plugins")
        for index, plugin in enumerate(wanted):
            try:
                load_catalogue([plugin], base=base)
            except AblateError as alone:
                check.problem((*path, index), alone.message, hint=alone.hint)
        if not check.within(path):
            check.problem(path, error.message, hint=error.hint)
    return load_catalogue((), bundled_only=bundled_only)


def _params_said(tricks: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What `--set tricks.NAME.PARAMETER` said."""
    reserved = ("use", "bundle", "set")
    return {
        label: {key: value for key, value in params.items() if key not in reserved}
        for label, params in tricks.items()
        if isinstance(params, Mapping)
    }
