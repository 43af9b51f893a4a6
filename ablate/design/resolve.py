"""`resolve`: a study to plain data, with every key, or every reason why it cannot be trained."""

from __future__ import annotations

from pathlib import Path

from ablate.core.resolved_study import STUDY_FORMAT, ResolvedStudy
from ablate.core.trial import Numerics
from ablate.design.ordering import graphs, work_order
from ablate.design.planner import Planner
from ablate.design.rows import RowProblem, plan_rows
from ablate.design.text import headline
from ablate.design.tuning_grid import Choose, choosing, nothing_chosen, options
from ablate.design.uncalled import Own
from ablate.design.variants import resolve_variant
from ablate.errors import AblateError, Problem, StudyError
from ablate.study.loader import MOST_TRIALS
from ablate.study.model import Study
from ablate.util.devices import compiler_lacks


def resolve(
    study: Study,
    *,
    data_root: Path | None,
    device_type: str = "cpu",
    command: str,
    allow_missing_data: bool = False,
    need_files: bool = True,
    compiles: bool | None = None,
    choose: Choose = nothing_chosen,
    own: Own | None = None,
) -> ResolvedStudy:
    """Every table, row and trial of a study, with the order of work.

    allow_missing_data: a data set that is not there becomes a warning; its trials' keys are then
    not the ones that training it would give. need_files: likewise of files that tricks are
    configured with, without a warning; a report needs none. compiles: whether `fast` numerics
    compile the model, None for whether this machine can. choose: what the seeds of rows with `tune`
    choose, from the trials that they choose by; those without a choice are not in `order`. own: of
    data sets that are functions and must not be called, what is known.

    Raises StudyError for tricks that do not fit together and for a part, which has no rows,
    DataError for missing data.
    """
    _refuse_part(study)
    _refuse_too_many(study)
    profile = study.numerics or ("fast" if device_type == "cuda" else "exact")
    lacking: tuple[str, ...] = ()
    if profile == "fast" and compiles is None:
        lacking = compiler_lacks(device_type)
        compiles = not lacking
    numerics = Numerics.named(profile, device_type, bool(compiles))
    planner = Planner(study, data_root, numerics, allow_missing_data, need_files, choose, own or {})
    if lacking:
        message = f"fast numerics without compiled models: {' and '.join(lacking)} missing here"
        planner.warnings[message] = None
    infos = [planner.info(dataset) for dataset in study.datasets]
    tables = planner.tables()
    if planner.problems:
        raise StudyError(tuple(planner.problems))
    try:
        plain = [
            resolve_variant(study, dataset, info, {}, ())
            for dataset, info in zip(study.datasets, infos, strict=True)
        ]
    except RowProblem as problem:
        where = study.document.problem(("recipe",), problem.message, hint=problem.hint)
        raise StudyError([where]) from problem
    shared = graphs(planner.trials, study.catalogue)
    each = any(table.tuning is not None and not table.tuning.once for table in tables)
    return ResolvedStudy(
        format=STUDY_FORMAT if each else 1,
        name=study.name,
        file=study.file,
        toml=study.toml,
        overrides=study.overrides,
        command=command,
        headline=headline(plain[0].recipe, [variant.image_size for variant in plain]),
        seeds=study.seeds,
        margin=study.margin,
        metric=study.metric,
        tables=tuple(tables),
        trials=planner.trials,
        labels=planner.labels,
        order=work_order(tables, planner.trials),
        graphs=shared,
        warnings=tuple(planner.warnings),
    )


def _refuse_part(study: Study) -> None:
    if study.part:
        message = "is a part for other studies, with no rows of its own"
        hint = f'name a study that extends it: extends = "{study.path.name}"'
        raise StudyError([Problem(study.file, 0, "", message, hint)])


def _refuse_too_many(study: Study) -> None:
    tables = sum(
        len(ablation.columns)
        * len(plan_rows(study, ablation))
        * (len(study.seeds) + len(options(ablation.tune)) * choosing(ablation, study.seeds))
        for ablation in study.ablations
    )
    count = tables * len(study.datasets)
    if count > study.max_trials:
        hint = "fewer seeds, data sets or columns of over: --seeds 1 · --dataset NAME"
        if count <= MOST_TRIALS:
            hint += f"\nor, if so many are meant: --set study.max_trials={count}"
        most = f"{study.max_trials:,} are the most this study may have"
        raise AblateError(f"{count:,} trials are asked for; {most}", where=study.file, hint=hint)
