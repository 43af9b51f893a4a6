"""`plan --hooks`: what acts at each hook of a row, in execution order."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.hookspecs import HOOKS
from ablate.recipe import Recipe
from ablate.tricks.base import Trick
from ablate.tricks.chains import Hooks

# What happens at a hook where no trick replaces it, and that it is worth saying so.
_DEFAULTS = {
    "build_model": "{model}{zoo}",
    "init_model": "recipe",
    "build_schedule": "step",
    "precision": "fp32",
    "augmentations": "crop → flip → norm",
    "encode_targets": "one-hot",
}

_QUIET = {"forward": "forward", "compute_loss": "loss", "build_optimizer": "optimizer"}
_FIRST = ("augmentations", "encode_targets", "batch_mixers")  # in the order of a step


def hook_lines(tricks: Sequence[Trick], recipe: Recipe) -> list[str]:
    """Two columns: what builds a trial, and what happens in it. `*` marks a replacement."""
    hooks = Hooks(tricks)
    left = _side(hooks, recipe, ("plan", "build"), without=("augmentations", "batch_mixers"))
    right = _side(hooks, recipe, ("epoch", "step", "eval"), also=("augmentations", "batch_mixers"))
    right.sort(key=lambda line: _FIRST.index(line[0]) if line[0] in _FIRST else len(_FIRST))
    if quiet := [word for hook, word in _QUIET.items() if not hooks.acting[hook]]:
        right.append((f"{', '.join(quiet)}: default", ""))
    return _columns(left, right)


def _side(
    hooks: Hooks,
    recipe: Recipe,
    stages: tuple[str, ...],
    *,
    also: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> list[tuple[str, str]]:
    return [
        (hook, _chain(hooks, hook, recipe))
        for hook, info in HOOKS.items()
        if (info.stage in stages or hook in also)
        and hook not in without
        and (hooks.acting[hook] or hook in _DEFAULTS)
    ]


def _chain(hooks: Hooks, hook: str, recipe: Recipe) -> str:
    acting = hooks.acting[hook]
    if hook == "batch_mixers":
        return " or ".join(acting)
    if HOOKS[hook].kind != "replaceable":
        default = _DEFAULTS.get(hook)
        return " + ".join([*([default] if default else []), *acting])
    if any(name.endswith(" *") for name in acting):
        return " → ".join(acting)
    zoo = "" if ":" in recipe.model or "/" in recipe.model else " (zoo)"
    default = _DEFAULTS.get(hook, "default").format(model=recipe.model, zoo=zoo)
    return " → ".join([default, *acting])


def _columns(left: list[tuple[str, str]], right: list[tuple[str, str]]) -> list[str]:
    from ablate.console.text import pad, width

    name = max(len(hook) for hook, _ in left)
    first = [f"{pad(hook, name)}  {what}" for hook, what in left]
    wide = max(width(line) for line in first) + 3
    name = max(len(hook) for hook, what in right if what)
    second = [f"{pad(hook, name)}  {what}" if what else hook for hook, what in right]
    lines = []
    for i in range(max(len(first), len(second))):
        a = first[i] if i < len(first) else ""
        b = second[i] if i < len(second) else ""
        marks = ("build", "step") if i == 0 else ("", "")
        lines.append(f"{marks[0]:<5}  {pad(a, wide)}{marks[1]:<4}  {b}".rstrip())
    return lines
