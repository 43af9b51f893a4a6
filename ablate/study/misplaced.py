"""Where a setting belongs that stands in the wrong table, and ablate's word for another tool's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ablate.core.recipe import Recipe
from ablate.errors import did_you_mean

_ABLATION: Final = "an [[ablation]], beside its stack"
_OPTIMIZER: Final = (
    "the optimizer is SGD (momentum, nesterov, weight_decay), and others are tricks of the stack: "
    "adamw, adam, rmsprop, sam"
)
_SCHEDULE: Final = (
    "the schedule has steps (schedule.milestones, schedule.gamma), and others are tricks of the "
    "stack: cosine, linear, one_cycle"
)

# The table of every setting, but of those that several tables have.
HOMES: Final[dict[str, str]] = {
    **dict.fromkeys(Recipe.model_fields, "[recipe]"),
    **dict.fromkeys(("datasets", "seeds", "max_trials", "numerics", "plugins"), "[study]"),
    "stack": "[study] or an [[ablation]]",
    **dict.fromkeys(("margin", "metric", "stall_minutes"), "[protocol]"),
    **dict.fromkeys(("kind", "base", "orders", "over", "transpose", "tune"), _ABLATION),
    **dict.fromkeys(("when", "drop"), "an [[override]]"),
    **dict.fromkeys(("use", "bundle"), "a name's table under [tricks]"),
    **dict.fromkeys(("milestones", "gamma"), "[recipe], as schedule.milestones and schedule.gamma"),
    "extends": "the top of the file, before any table",
}

# Other tools' words: "table.setting" here, or a sentence where it is no setting.
WORDS: Final[dict[str, str]] = {
    **dict.fromkeys(("learning_rate", "base_lr", "lr0", "init_lr", "max_lr"), "recipe.lr"),
    **dict.fromkeys(("wd", "decay", "l2"), "recipe.weight_decay"),
    **dict.fromkeys(
        ("batch", "bs", "train_batch_size", "per_device_train_batch_size"), "recipe.batch_size"
    ),
    **dict.fromkeys(("num_epochs", "n_epochs", "max_epochs", "num_train_epochs"), "recipe.epochs"),
    **dict.fromkeys(("arch", "architecture", "backbone", "network", "net"), "recipe.model"),
    **dict.fromkeys(("img_size", "imgsz", "resolution", "input_size"), "recipe.image_size"),
    **dict.fromkeys(("val_size", "test_size", "crop_size"), "recipe.eval_size"),
    **dict.fromkeys(("hflip", "fliplr", "horizontal_flip"), "recipe.flip"),
    **dict.fromkeys(
        ("accumulate", "grad_accum", "accumulation_steps", "gradient_accumulation_steps"),
        "recipe.micro_batches",
    ),
    **dict.fromkeys(("dataset", "data", "data_set"), "study.datasets"),
    **dict.fromkeys(("seed", "num_seeds", "n_seeds", "runs", "repeats", "trials"), "study.seeds"),
    **dict.fromkeys(("tricks", "order", "rows"), "study.stack"),
    **dict.fromkeys(("deterministic", "precision"), "study.numerics"),
    **dict.fromkeys(("monitor", "objective", "target_metric"), "protocol.metric"),
    **dict.fromkeys(("timeout", "stall"), "protocol.stall_minutes"),
    **dict.fromkeys(("equivalence_margin", "delta"), "protocol.margin"),
    **dict.fromkeys(("optimizer", "optim", "opt"), _OPTIMIZER),
    **dict.fromkeys(("scheduler", "lr_scheduler", "sched", "lr_schedule"), _SCHEDULE),
    **dict.fromkeys(
        ("amp", "mixed_precision", "half"), "the number format is a trick of the stack: fp16, bf16"
    ),
    **dict.fromkeys(
        ("warmup_epochs", "warmup_steps"),
        "it is the trick warmup: in a stack, with warmup = { epochs = 5 } under [tricks]",
    ),
    **dict.fromkeys(
        ("clip_grad", "grad_clip", "max_grad_norm"),
        "it is the trick gradient_clipping: in a stack, with its settings under [tricks]",
    ),
    "device": "it is no setting: ablate run STUDY --device cuda:1",
    "store": "it is no setting: ablate run STUDY --store DIR",
    **dict.fromkeys(("workers", "num_workers"), "there are none: images are decoded once"),
}


def unknown_setting(
    key: str, here: str, known: Sequence[str], tricks: Callable[[], Sequence[str]]
) -> str:
    """What is said of a key that its table does not have.

    here: the table as "recipe", "" for the file's own. known: what the table has. tricks: the
    installed tricks' names, asked for only if nothing else is known of the key.
    """
    said = "unknown setting"
    if "set" in known and key in Recipe.model_fields:  # of an override, of a trial
        return f"{said}; here it is set.{key}"
    if key in HOMES and (home := HOMES[key]) != f"[{here}]":
        return f"{said}; it belongs under {home}"
    if key in WORDS and key not in known:
        table, dot, setting = WORDS[key].partition(".")
        if not dot or " " in WORDS[key]:
            return f"{said}; {WORDS[key]}"
        place = "" if table == here else f" under [{table}]"
        return f"{said}; here it is called {setting}{place}"
    if key in tricks():
        return f"{said}; it is a trick: name it in a stack, its parameters go under [tricks]"
    return said + did_you_mean(key, known)


def full_name(key: str) -> str | None:
    """ "recipe.lr" of "lr" and of "learning_rate": how `--set` would have it; None if unknown."""
    home = HOMES.get(key, "")
    if home in ("[recipe]", "[study]", "[protocol]"):
        return f"{home.strip('[]')}.{key}"
    word = WORDS.get(key, "")
    return word if "." in word and " " not in word else None
