"""What a person is told of code that a study names, before it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.errors import StudyError

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.study.model import Study


def tell_functions(study: Study, output: Output) -> None:
    """Which functions of one's own are about to be called, and where they are."""
    from ablate.planning.others_code import function_problems, in_words, study_functions

    found = study_functions(study)
    if wrong := function_problems(study, [name for what, name in found if what == "model"]):
        raise StudyError(wrong)  # before a package of one that is misspelled is imported
    for place in in_words(found):
        output.note([(f"calls {place}", "dim")])
