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
from ablate.stats.calibration import (
    binned_error,
    calibration_error,
    class_accuracy,
    class_means,
    log_sum_exp,
)
from ablate.stats.combine import MeanEffect, OnAll, difference, mean_effect, on_all
from ablate.stats.fit import BlockFit, Contrast, Uneven, degrees_of_freedom, fit
from ablate.stats.images import FEWEST_SEEDS, disagreements, mcnemar, new_images
from ablate.stats.inference import Effect, Verdict, effect, family, holm
from ablate.stats.looks import (
    LOOKS,
    MOST,
    Look,
    level_of,
    look_at,
    looks_until,
    next_look,
    seeds_for_width,
    stein_half_width,
)
from ablate.stats.noise import Floats, error_rates, moderated, moderated_df
from ablate.stats.orderings import kind_of_orders, order_steps, ordering_share
from ablate.stats.power import (
    MANY_SEEDS,
    SeedsRange,
    expected_noise,
    rerun_band,
    seeds_needed,
    seeds_range,
    smallest_detectable,
)
from ablate.stats.shares import fisher_exact, log_odds, share_interval
from ablate.stats.times import (
    Ratio,
    disturbed,
    epoch_time,
    processor_share,
    time_fit,
    time_ratio,
)
from ablate.stats.wins import Wins, wins

__all__ = [
    "FEWEST_SEEDS",
    "LOOKS",
    "MANY_SEEDS",
    "MOST",
    "BlockFit",
    "Contrast",
    "Effect",
    "Floats",
    "Look",
    "MeanEffect",
    "OnAll",
    "Ratio",
    "SeedsRange",
    "Uneven",
    "Verdict",
    "Wins",
    "binned_error",
    "calibration_error",
    "class_accuracy",
    "class_means",
    "degrees_of_freedom",
    "difference",
    "disagreements",
    "disturbed",
    "effect",
    "epoch_time",
    "error_rates",
    "expected_noise",
    "family",
    "fisher_exact",
    "fit",
    "holm",
    "interaction",
    "kind_of_orders",
    "leave_out",
    "level_of",
    "log_odds",
    "log_sum_exp",
    "look_at",
    "looks_until",
    "main_effect",
    "mcnemar",
    "mean_effect",
    "moderated",
    "moderated_df",
    "new_images",
    "next_look",
    "on_all",
    "order_steps",
    "ordering_share",
    "processor_share",
    "redundancy",
    "rerun_band",
    "seeds_for_width",
    "seeds_needed",
    "seeds_range",
    "shapley",
    "share_interval",
    "single",
    "smallest_detectable",
    "stein_half_width",
    "time_fit",
    "time_ratio",
    "wins",
]
