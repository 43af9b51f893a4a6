"""A trial: what is trained, as plain data, and the key that names it.

This is what the planner hands to a worker, as JSON. No torch here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ablate.core.recipe import Frozen, Recipe

# Raise when the engine's arithmetic changes: stored trials then no longer count. The golden-loss
# test fails until this is done.
ENGINE_BEHAVIOUR = 1
# The same where a batch does not divide into equal micro-batches, and nowhere else: since 2 the
# training loss counts each part by its images. Up to 1 the parts counted alike, whatever their
# size. No number is used twice: the next of either is above both.
UNEQUAL_PARTS = 2


def engine_behaviour(recipe: Recipe) -> int:
    """The number of the arithmetic by which this recipe is trained now."""
    parts = min(recipe.micro_batches, recipe.batch_size)  # none is left without an image
    return UNEQUAL_PARTS if recipe.batch_size % parts else ENGINE_BEHAVIOUR


WHOLE = 2**53  # floats below it that are whole are keyed as integers


class Numerics(Frozen):
    """What fixes the arithmetic besides the recipe. Part of the key, never mixed in a table."""

    profile: Literal["exact", "fast"] = "exact"
    device_type: Literal["cpu", "cuda"] = "cpu"
    channels_last: bool = False
    compiled: bool = False
    deterministic: bool = True
    tf32: bool = False
    threads: int = 1  # of a CPU trial; thread counts change the sums

    @classmethod
    def named(cls, profile: str, device_type: str, compiles: bool = False) -> Numerics:
        """The numerics of profile "exact" or "fast" on "cpu" or "cuda".

        compiles: whether torch.compile works there, which `fast` then uses.
        """
        fast = profile == "fast"
        gpu_fast = fast and device_type == "cuda"
        return cls(
            profile="fast" if fast else "exact",
            device_type="cuda" if device_type == "cuda" else "cpu",
            channels_last=gpu_fast,
            compiled=fast and compiles,
            deterministic=not gpu_fast,
            tf32=gpu_fast,
        )


class DatasetRef(Frozen):
    """A data set as a trial names it.

    `name` is a catalogue name or "package.module:function" or "imagefolder:PATH"; `variant` the
    downloaded edition ("160", "320", "full") or ""; `fingerprint` the hash of the decoded content's
    manifest; `decoder` a name and number raised when decoding changes; `limit` images per split
    (class-balanced) or None for all. `held_out`: one in so many training images is evaluated on
    instead of trained on, to choose settings; None: the evaluation images are. `fold`: which of
    these parts of train, from 0.
    """

    name: str
    variant: str = ""
    fingerprint: str
    decoder: str
    limit: int | None = None
    num_classes: int
    held_out: int | None = None
    fold: int = Field(default=0, ge=0)

    @model_serializer(mode="wrap")
    def _as_before(self, serialised: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `fold` where it is 0: keys, and what releases that do not know it can read, are
        what they were when there was one part."""
        document: dict[str, Any] = serialised(self)
        if not self.fold:
            document.pop("fold", None)
        return document


class TrickSpec(Frozen):
    """A configured trick: which class, with which parameters, of which behaviour.

    `name` is the entry point's name, `label` the study's alias (not keyed), `source` the file of a
    loose trick, else the distribution (not keyed), `params` all of them, defaults included,
    `behaviour` the trick's declared version ("v1") or the hash of its source, `bundle` the alias of
    the bundle that brought it (not keyed). `files`: paths of the parameters that are files (not
    keyed); in `params` each is the digest of its content. `exact`: parameters of which the trick
    sees more than the key has by itself, whether a number is 1 or 1.0 or a table's order, and which
    are therefore keyed as they are written too.
    """

    name: str
    label: str
    source: str
    params: dict[str, Any]
    behaviour: str
    bundle: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    exact: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, serialised: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `exact` where it is empty: releases that do not know it read all other trials."""
        document: dict[str, Any] = serialised(self)
        if not self.exact:
            document.pop("exact", None)
        return document

    def given(self) -> dict[str, Any]:
        """What the class is constructed from: `params`, files by their paths."""
        return self.params | self.files

    def keyed(self) -> str:
        """What a key has of it, as canonical JSON: equal where the trick gets the same."""
        document: dict[str, Any] = {"name": self.name, "params": _numbers(self.params)}
        document["behaviour"] = self.behaviour
        if self.exact:
            document["exact"] = {name: self.written(name) for name in self.exact}
        return json.dumps(document, sort_keys=True)

    def written(self, name: str) -> str:
        """A parameter as JSON, in its own order, 1 apart from 1.0."""
        return json.dumps(self.params[name])


class Trial(Frozen):
    """One training. Two trials with the same `key` are the same training, in any study."""

    recipe: Recipe
    dataset: DatasetRef
    tricks: tuple[TrickSpec, ...]
    numerics: Numerics
    seed: int
    teacher: str | None = None  # key of the trial whose weights it learns from
    engine: int = ENGINE_BEHAVIOUR  # where it is not said, its recipe's

    @model_validator(mode="after")
    def _of_its_recipe(self) -> Trial:
        if "engine" not in self.model_fields_set:
            self.__dict__["engine"] = engine_behaviour(self.recipe)
        return self

    @property
    def key(self) -> str:
        """SHA-256 over everything that decides the result, in hex."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """What is hashed: the *set* of tricks, sorted, and the data set's content; no aliases, no
        places of origin, no names of folders."""
        document = self.model_dump(mode="json", exclude={"tricks"})
        document["tricks"] = self.tricks_key()
        for name in ("name", "variant"):
            del document["dataset"][name]
        if self.dataset.held_out is None:  # as keys were before anything could be held out
            del document["dataset"]["held_out"]
        return _numbers(document)  # type: ignore[no-any-return]

    def tricks_key(self) -> tuple[str, ...]:
        """The set of tricks, each as canonical JSON, sorted."""
        return tuple(sorted(trick.keyed() for trick in self.tricks))


def _numbers(value: Any) -> Any:
    """1 and 1.0 are one setting and must hash alike: whole floats become integers."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE:
        return int(value)
    return value
