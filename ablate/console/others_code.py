"""What a person is told of code that a study names, before it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.study.model import Study


def tell_functions(study: Study, output: Output) -> None:
    """Which functions of one's own are about to be called, and where they are."""
    from ablate.planning.others_code import in_words, study_functions

    for place in in_words(study_functions(study)):
        output.note([(f"calls {place}", "dim")])
