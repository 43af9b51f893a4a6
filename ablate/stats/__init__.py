"""Effects between rows over shared seeds: fits, intervals, verdicts, power; arrays in, floats out.

Nothing here knows of studies, stores or formats, and scipy is imported where it is used.
"""

from ablate.stats.attribution import (
    interaction,
    leave_out,
    main_effect,
    redundancy,
    shapley,
    single,
)
from ablate.stats.combine import MeanEffect, difference, mean_effect
from ablate.stats.fit import BlockFit, Contrast, fit, noise_scale
from ablate.stats.inference import Effect, Verdict, effect, family, holm
from ablate.stats.looks import LOOKS, Look, looks_until
from ablate.stats.power import expected_noise, rerun_band, seeds_needed, smallest_detectable
from ablate.stats.times import Ratio, epoch_time, time_fit, time_ratio

__all__ = [
    "LOOKS",
    "BlockFit",
    "Contrast",
    "Effect",
    "Look",
    "MeanEffect",
    "Ratio",
    "Verdict",
    "difference",
    "effect",
    "epoch_time",
    "expected_noise",
    "family",
    "fit",
    "holm",
    "interaction",
    "leave_out",
    "looks_until",
    "main_effect",
    "mean_effect",
    "noise_scale",
    "redundancy",
    "rerun_band",
    "seeds_needed",
    "shapley",
    "single",
    "smallest_detectable",
    "time_fit",
    "time_ratio",
]
