"""What is known before training: what is done, how long the rest takes, what the seeds can see.

Imports `report`, `execution`, `design`, `study`, `store` and below. The names here are those that
commands use most.
"""

from __future__ import annotations

from ablate.planning.near_misses import NearMiss, near_misses
from ablate.planning.power import Resolution, resolutions
from ablate.planning.timing import Timings
from ablate.planning.work import Work, survey

__all__ = [
    "NearMiss",
    "Resolution",
    "Timings",
    "Work",
    "near_misses",
    "resolutions",
    "survey",
]
