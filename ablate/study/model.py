"""A study as frozen values: what `load_study` returns and `ablate.design` expands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final, Literal

from ablate.core.resolved_study import Kind
from ablate.study.document import Document
from ablate.study.finder import is_part
from ablate.study.toml_positions import Path

STALL_MINUTES: Final = 30.0  # where nobody sets a limit: longer than anything sound is silent

if TYPE_CHECKING:
    from ablate.tricks.discovery import Catalogue

Settings = Mapping[str, Any]  # some fields of a Recipe, as TOML has them


@dataclass(frozen=True)
class TrickConfig:
    """One name that a stack may use: a configured trick, or a bundle of such names.

    label: the name. trick: the installed trick's name, "" for a bundle. params: those given.
    settings: side changes to the recipe (`set.KEY`). members: of a bundle.
    """

    label: str
    trick: str
    params: Settings = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    members: tuple[str, ...] = ()
    path: Path = ()


@dataclass(frozen=True)
class Item:
    """One entry of a stack. branch: a nested list, added to the trunk and not carried on."""

    labels: tuple[str, ...]
    branch: bool
    path: Path


@dataclass(frozen=True)
class Ablation:
    """One `[[ablation]]`. columns: the settings of each column of `over`, one empty without.

    stack: empty for a table of the baseline alone. orders: of kind "orderings", each the indices
    of all entries of the stack. once: whether a row chooses among `tune` once, and not every seed
    for itself.
    """

    name: str
    kind: Kind
    base: tuple[str, ...]
    stack: tuple[Item, ...]
    columns: tuple[Settings, ...]
    transpose: bool
    tune: Settings
    path: Path
    orders: tuple[tuple[int, ...], ...] = ()
    once: bool = False


@dataclass(frozen=True)
class Override:
    """One `[[override]]`. A condition that is None always holds; otherwise any of its names."""

    models: tuple[str, ...] | None
    datasets: tuple[str, ...] | None
    tricks: tuple[str, ...] | None
    settings: Settings
    params: Mapping[str, Settings]
    drop: frozenset[str]
    path: Path


@dataclass(frozen=True)
class NamedTrial:
    """One `[trial.NAME]`: a training that others use, such as a teacher."""

    name: str
    tricks: tuple[str, ...]
    seed: int
    settings: Settings
    path: Path


@dataclass(frozen=True)
class Study:
    """A study file, validated, with everything that it names known to exist.

    file: as the user named it. path: the file. seeds: 0 … n − 1. limit: images per split, or None.
    recipe: with `--set` already in it; `final` has what `--set` said again, because it also beats
    columns, overrides and side changes; `final_params` likewise, by trick. document: the text's
    places, for problems that only planning finds.
    """

    name: str
    file: str
    path: FilePath
    overrides: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    limit: int | None
    max_trials: int
    numerics: Literal["exact", "fast"] | None
    plugins: tuple[str, ...]
    margin: float
    metric: str
    stall_minutes: float
    recipe: Settings
    final: Settings
    final_params: Mapping[str, Settings]
    tricks: Mapping[str, TrickConfig]
    ablations: tuple[Ablation, ...]
    rules: tuple[Override, ...]
    trials: Mapping[str, NamedTrial]
    catalogue: Catalogue = field(repr=False, compare=False)
    document: Document = field(repr=False, compare=False)

    @property
    def part(self) -> bool:
        """Whether it is there for others to extend: `_NAME.toml`, which has no rows of its own."""
        return is_part(self.path)

    @property
    def toml(self) -> dict[str, str]:
        """Text of the file and of those it extends, by path."""
        return {source.file: source.text for source in self.document.sources}

    def config(self, label: str) -> TrickConfig:
        """What `label` stands for; a trick without an entry in [tricks] has its defaults."""
        return self.tricks.get(label) or TrickConfig(label, label)
