"""What can be said of a study without calling its data sets and models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ablate.core.resolved_study import ResolvedStudy
from ablate.design import resolve
from ablate.design.uncalled import Own, supposed
from ablate.errors import AblateError, StudyError
from ablate.planning.others_code import function_problems, in_words, study_functions
from ablate.planning.preflight import check_models
from ablate.planning.updates import check_updates
from ablate.study.model import Study
from ablate.util.own_code import is_function, uncalled

# Classes and pixels of a data set that is not called. What is refused whichever it has is wrong.
_SUPPOSED = ((10, 32), (1000, 224))


@dataclass(frozen=True)
class Checked:
    """A study without a mistake.

    not_called: "/home/me/mine.py (model mine:small)", its functions.
    """

    resolved: ResolvedStudy
    not_called: tuple[str, ...]


def check_study(
    study: Study, data_root: Path | None, command: str, *, bundled_only: bool = False
) -> Checked:
    """Raise StudyError or AblateError for what is wrong with it, as far as that can be told."""
    functions = [name for name in study.datasets if is_function(name)]
    tries: list[Own] = [supposed(functions, *each) for each in _SUPPOSED]
    errors: list[AblateError] = []
    with uncalled():
        for own in tries if functions else [{}]:
            try:
                resolved = resolve(
                    study, data_root=data_root, command=command, allow_missing_data=True, own=own
                )
                models = dict.fromkeys(trial.recipe.model for trial in resolved.trials.values())
                if problems := function_problems(study, models):
                    raise StudyError(problems)
                check_models(resolved, foreign_only=True, uncalled=True)
                check_updates(resolved, bundled_only=bundled_only, uncalled=True)
                return Checked(resolved, in_words(study_functions(study)))
            except AblateError as error:
                errors.append(error)
    raise _of_both(errors)


def _of_both(errors: list[AblateError]) -> AblateError:
    """What each of them says; the first where they have nothing in common."""
    first = errors[0]
    said = [error.problems for error in errors if isinstance(error, StudyError)]
    if len(said) < len(errors) or len(errors) == 1:
        return first
    both = [problem for problem in said[0] if all(problem in other for other in said[1:])]
    return StudyError(both) if both else first
