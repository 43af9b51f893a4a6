"""Study files: TOML to validated, frozen objects, with every problem of a file at once."""

from __future__ import annotations

from ablate.study.finder import find_study, init_text, shipped_studies, study_name
from ablate.study.loader import load_study, stored_name
from ablate.study.model import Ablation, Item, NamedTrial, Override, Study, TrickConfig
from ablate.study.trick_configs import make_trick

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
    "stored_name",
    "study_name",
]
