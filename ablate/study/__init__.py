"""Study files: TOML to validated, frozen objects, with every problem of a file at once."""

from __future__ import annotations

from ablate.study.configured import make_trick
from ablate.study.find import find_study, shipped_studies, study_name
from ablate.study.loading import load_study
from ablate.study.template import init_text
from ablate.study.values import Ablation, Item, NamedTrial, Override, Study, TrickConfig

__all__ = [
    "Ablation",
    "Item",
    "NamedTrial",
    "Override",
    "Study",
    "TrickConfig",
    "find_study",
    "init_text",
    "load_study",
    "make_trick",
    "shipped_studies",
    "study_name",
]
