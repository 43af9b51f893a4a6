"""What a trick changes where others of its row shape the same thing.

A trick describes itself against the baseline: "schedule: step → 2 epochs linear, then step". Under
a cosine the row above has no steps; what it has follows from the order in which the hook's chain
runs: "schedule: cosine → 2 epochs linear, then cosine".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.hookspecs import HOOKS

if TYPE_CHECKING:
    from ablate.tricks.base import Trick

_CHANGE = re.compile(r"([^:→]+): (.+?) → (.+)")  # "aspect: from → to"


def change_in_words(
    label: str,
    above: Mapping[str, Trick],
    now: Mapping[str, Trick],
    counts: Mapping[str, int],
) -> str:
    """What `label` adds to the row: its own description, or from what the tricks of the row
    above make of that aspect to what those of this row make of it.

    above, now: the rows' tricks by label. counts: how much each label was seen to change.
    """
    told = now[label].describe(changed=counts.get(label))
    said = _CHANGE.fullmatch(told)
    hook = _hook(now[label], said[1]) if said is not None else None
    if said is None or hook is None:
        return told
    aspect, start, _ = said.groups()
    before, after = (_value(hook, aspect, start, tricks, counts) for tricks in (above, now))
    return f"{aspect}: {before} → {after}" if before != after else told


def _hook(trick: Trick, aspect: str) -> str | None:
    """The replaceable hook of that aspect which the trick implements."""
    for hook, info in HOOKS.items():
        acts = hasattr(getattr(type(trick), hook, None), "ablate_impl")
        if acts and info.kind == "replaceable" and info.aspect == aspect:
            return hook
    return None


def _value(
    hook: str, aspect: str, start: str, tricks: Mapping[str, Trick], counts: Mapping[str, int]
) -> str:
    """What the hook's chain makes of `start`, in words, innermost first."""
    from ablate.tricks.chains import Hooks

    labels = {trick.name: label for label, trick in tricks.items()}
    value = start
    for name in Hooks(tuple(tricks.values())).acting[hook] if tricks else ():
        label = labels[name.removesuffix(" *")]
        said = _CHANGE.fullmatch(tricks[label].describe(changed=counts.get(label)))
        if said is not None and said[1] == aspect and said[2] == start:
            inner = value
            value = re.sub(rf"(?<!\w){re.escape(start)}(?!\w)", lambda _: inner, said[3])  # noqa: B023
    return value
