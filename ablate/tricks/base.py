"""`Trick`: the base class of every trick, bundled or third-party.

A trick is a frozen pydantic model: its fields are its parameters, with the TOML's types and bounds.
What changes during a trial lives in private attributes (`_shadow: Any = PrivateAttr(None)`); each
trial constructs its tricks afresh.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from ablate.core.metrics import Metric
from ablate.hookspecs import HOOKS
from ablate.hookspecs import hookimpl as hookimpl  # where tricks of before the packages find them
from ablate.hookspecs import hookspec as hookspec
from ablate.tricks.file_params import file_fields
from ablate.tricks.places import place

if TYPE_CHECKING:
    from ablate.core.recipe import Recipe
    from ablate.core.trial import Trial

# Words that mean something else in a study's [tricks] table or on the class itself.
RESERVED = frozenset(
    {"use", "bundle", "set", "version", "name", "origin", "slot", "provides", "requires"}
)
RESERVED |= {"conflicts", "exclusive", "before", "after", "describe", "warnings", "state_dict"}
RESERVED |= {"load_state_dict", "preflight", "step_warnings", "measures"}


class Trick(BaseModel):
    """One change to a training.

    Class attributes, all optional:

    version: raise it when the trick's behaviour changes; without one, its source is hashed.
    slot: where its implementations stand among others', {hook: slot} or one slot for all.
    provides, before, after, requires, conflicts, exclusive: capability tags (never names of other
    tricks). Two tricks that share a tag in `exclusive` cannot stand in one row; `requires` needs a
    trick in the row that provides the tag; `conflicts` refuses one that does; `before` and `after`
    order implementations within a slot.
    measures: what the numbers of its `extra_metrics` are, for reports: unit, direction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str] = ""
    origin: ClassVar[str] = ""  # distribution or file, set by discovery
    version: ClassVar[int | None] = None
    slot: ClassVar[str | dict[str, str]] = {}
    provides: ClassVar[frozenset[str]] = frozenset()
    before: ClassVar[frozenset[str]] = frozenset()
    after: ClassVar[frozenset[str]] = frozenset()
    requires: ClassVar[frozenset[str]] = frozenset()
    conflicts: ClassVar[frozenset[str]] = frozenset()
    exclusive: ClassVar[frozenset[str]] = frozenset()
    measures: ClassVar[tuple[Metric, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)

        for field in cls.model_fields:
            if field in RESERVED or field in HOOKS:
                raise TypeError(
                    f"{cls.__name__}.{field}: a parameter may not be named like a hook or a "
                    f"reserved word; rename it"
                )
        file_fields(cls)
        for metric in cls.measures:
            wrong = metric.problem() if isinstance(metric, Metric) else "it is no Metric"
            if wrong:
                named = getattr(metric, "name", metric)
                raise TypeError(f"{cls.__name__}.measures: {named!r}: {wrong}")
        for hook in HOOKS:
            method = cls.__dict__.get(hook)
            if method is not None and not hasattr(method, "ablate_impl"):
                raise TypeError(
                    f"{cls.__name__}.{hook}: a hook without @hookimpl is never called"
                    f"{place(method)}"
                )
        if "name" not in cls.__dict__:
            cls.name = snake_case(cls.__name__)

    # pluggy refuses a second plugin that compares equal; tricks are told apart by identity.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def warnings(self, recipe: Recipe) -> list[str]:
        """What a person should know before training by `recipe` with this trick."""
        return []

    def step_warnings(self, recipe: Recipe, steps_per_epoch: int) -> list[str]:
        """What a person should know before a training of this many steps; reports say it, too.

        Called when planning, where the number of training images is known.
        """
        return []

    def preflight(self, trial: Trial) -> None:
        """Raise AblateError, with a next step as its hint, if `trial` cannot be trained with this,
        and NoEffect if it would change nothing.

        Called by `plan` and before anything is trained, once for each row; torch may be imported.
        """

    def describe(self, changed: int | None = None) -> str:
        """What this changes, for `plan`: "precision: fp32 → fp16".

        `changed` is how many parameters, modules or groups it was seen to change on this model
        (None where the trick does not act on the model).
        """
        given = self.model_dump(mode="json")
        for name in file_fields(type(self)):
            if given[name] is not None:
                given[name] = Path(given[name]).name
        values = ", ".join(f"{k} {v}" for k, v in given.items())
        return f"{self.name}: {values or 'on'}"

    def state_dict(self) -> dict[str, Any]:
        """State to save in a checkpoint: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


def snake_case(name: str) -> str:
    """ "LabelSmoothing" → "label_smoothing"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
