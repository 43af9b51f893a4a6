"""In which order a study's trials are trained, and which of them share a compiled model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.core.resolved_study import Table
from ablate.core.trial import Trial

if TYPE_CHECKING:
    from ablate.tricks.discovery import Catalogue

# The hooks that can change what `model(images)` computes with: its layers, its number format, the
# size of its images. What a trick does to the recipe is in the recipe.
_SHAPING = ("build_model", "precision", "train_size")


def graphs(trials: Mapping[str, Trial], catalogue: Catalogue) -> dict[str, int]:
    """A number for each trial, the same for two whose models compile to the same graphs.

    Told from hooks and parameters, without building a model: a trick that could change the graph
    and does not costs an order that is not the best, nothing else.
    """
    shaping: dict[str, bool] = {}

    def shapes(name: str) -> bool:
        if name not in shaping:
            cls = catalogue.load(name).cls
            shaping[name] = any(
                hasattr(getattr(cls, hook, None), "ablate_impl") for hook in _SHAPING
            )
        return shaping[name]

    numbers: dict[Any, int] = {}
    same: dict[tuple[int, ...], int] = {}  # seeds of a row share their objects
    found = {}
    for key, trial in trials.items():
        recipe = trial.recipe
        shared = (id(recipe), id(trial.dataset), id(trial.tricks))
        if shared in same:
            found[key] = same[shared]
            continue
        tricks = tuple(spec for spec in trial.tricks if shapes(spec.name))
        graph = (
            recipe.model,
            recipe.image_size,
            recipe.eval_size,
            recipe.batch_size,
            recipe.micro_batches,
            trial.dataset.num_classes,
            trial.model_copy(update={"tricks": tricks}).tricks_key(),
        )
        found[key] = same[shared] = numbers.setdefault(graph, len(numbers))
    return found


def work_order(tables: Sequence[Table], trials: Mapping[str, Trial]) -> tuple[str, ...]:
    """What settings are chosen by, seed after seed, as those of one seed hold out the same images;
    then a block for each seed, the first of every row, the second of every row, and so on. Seeds
    whose settings are not chosen have no trials yet.

    So a table that is not whole has whole seeds, and a row's time is compared with those of trials
    around it, however the machine's speed drifts. Each seed begins one row further in each table,
    and comes to the first at the end: else the last row would come late in every block, and a
    machine that slows down steadily would charge it for that. A teacher comes right before the
    first who needs it.
    """
    order: dict[str, None] = {}

    def add(key: str) -> None:
        if key in order:
            return
        teacher = trials[key].teacher
        if teacher is not None:
            add(teacher)
        order[key] = None

    every = [row for table in tables for row in table.rows]
    for place in range(max((len(row.tuning) for row in every), default=0)):
        for row in every:
            for key in row.tuning[place] if place < len(row.tuning) else ():
                add(key)
    rows = [[row for row in table.rows if row.trained] for table in tables]
    for number in range(max((len(table.seeds) for table in tables), default=0)):
        for each in rows:
            first = number % max(len(each), 1)
            for row in (*each[first:], *each[:first]):
                if number < len(row.keys) and not row.open[number]:
                    add(row.keys[number])
    return tuple(order)
