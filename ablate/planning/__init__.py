"""What is known before training: what is done, how long the rest takes, what the seeds can see."""

from __future__ import annotations

from ablate.planning.detectable import Resolution, resolutions
from ablate.planning.near import NearMiss, near_misses
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
