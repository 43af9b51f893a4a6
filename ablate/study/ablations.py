"""`[[ablation]]` and its short form, `study.stack`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, get_args

from ablate.core.recipe import Recipe
from ablate.core.resolved_study import SET_KINDS, Kind
from ablate.errors import did_you_mean
from ablate.study.document import ablation_name, printable
from ablate.study.messages import found
from ablate.study.model import Ablation, Item, Settings
from ablate.study.orderings import check_sets, read_orders
from ablate.study.settings import over as settings_over
from ablate.study.toml_positions import Path
from ablate.study.trick_configs import Names
from ablate.study.validator import SETTINGS, Checker
from ablate.util.text import name_key

KINDS: tuple[str, ...] = get_args(Kind)
_KEYS = ("name", "kind", "base", "stack", "orders", "over", "transpose", "tune")
MAX_COLUMNS = 1000
MAX_OPTIONS = 1000
ONCE = "once"  # in `tune`: a row chooses for all its seeds
_NUMBERS = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "micro_batches", "flip")


def read_ablations(
    check: Checker, names: Names, document: Mapping[str, Any], *, part: bool = False
) -> list[Ablation]:
    """`study.stack` as the ablation `main`, then the `[[ablation]]` blocks; a part needs none."""
    study = document.get("study")
    sugar = isinstance(study, dict) and "stack" in study
    stack_path: Path = ("study", "stack")
    found_ablations: list[Ablation] = []
    if sugar:
        block = {"name": "main", "stack": study["stack"]}  # type: ignore[index]
        items = _stack(check, names, stack_path, block["stack"], (), "cumulative")
        found_ablations.append(
            Ablation("main", "cumulative", (), items, ({},), False, {}, ("study",))
        )
    blocks = document.get("ablation", [])
    if not isinstance(blocks, list):
        check.problem(("ablation",), "write [[ablation]], with two brackets", key=True)
        blocks = []
    for number, block in enumerate(blocks):
        path: Path = ("ablation", number)
        if not isinstance(block, dict):
            check.wrong(path, "a table", block)
            continue
        ablation = _ablation(check, names, path, block, stack_path if sugar else None, study)
        if any(name_key(ablation.name) == name_key(other.name) for other in found_ablations):
            message = f"two ablations are named '{printable(ablation.name)}'; give one another name"
            if sugar and ablation.name == "main":
                message += " (study.stack makes the other)"
            check.problem((*path, "name"), message)
        found_ablations.append(ablation)
    if not found_ablations and not part and not check.problems:
        message = 'compares nothing; add stack = ["warmup", "mixup"] to [study]'
        check.problem(("study",), message)
    return found_ablations


def _ablation(
    check: Checker,
    names: Names,
    path: Path,
    block: dict[str, Any],
    sugar: Path | None,
    study: Any,
) -> Ablation:
    check.unknown_keys(path, block, _KEYS)
    name = ablation_name(block)
    if "name" in block:
        if isinstance(block["name"], str):
            check.label((*path, "name"), name, key=False)
        else:
            check.wrong((*path, "name"), "a text", block["name"])
    kind = block.get("kind", "cumulative")
    if not isinstance(kind, str) or kind not in KINDS:
        close = did_you_mean(kind, KINDS) if isinstance(kind, str) else ""
        check.problem((*path, "kind"), f"{found(kind)} is no kind of ablation{close}")
        kind = "cumulative"
    base = _base(check, names, (*path, "base"), block.get("base", []))
    if "stack" in block:
        items = _stack(check, names, (*path, "stack"), block["stack"], base, kind)
    elif sugar is not None:
        items = _stack(check, names, sugar, study["stack"], base, kind)
    else:
        check.problem((*path, "stack"), 'is missing; write stack = ["warmup", "mixup"]', key=True)
        items = ()
    stack = (*path, "stack") if "stack" in block or sugar is None else sugar
    if kind in SET_KINDS:
        check_sets(check, names, stack, items, base, kind)
    orders = read_orders(check, path, block, items, stack, kind)
    columns = _columns(check, (*path, "over"), block["over"]) if "over" in block else ({},)
    transpose = block.get("transpose", False)
    if not isinstance(transpose, bool):
        check.wrong((*path, "transpose"), "true or false", transpose)
        transpose = False
    tune, once = _tune(check, (*path, "tune"), block["tune"]) if "tune" in block else ({}, False)
    return Ablation(name, kind, base, items, columns, transpose, tune, path, orders, once)


def _base(check: Checker, names: Names, path: Path, value: Any) -> tuple[str, ...]:
    labels: list[str] = []
    for index, label in check.texts(path, value, "a list of tricks"):
        if not names.usable((*path, index), label):
            continue
        if label in labels:
            check.problem((*path, index), f"'{printable(label)}' stands twice")
        labels.append(label)
    return tuple(labels)


def _stack(
    check: Checker, names: Names, path: Path, value: Any, base: tuple[str, ...], kind: str
) -> tuple[Item, ...]:
    if not isinstance(value, list):
        check.wrong(path, "a list of tricks", value)
        return ()
    if not value and path == ("study", "stack"):
        alone = "for a table of the baseline alone write [[ablation]] with stack = []"
        check.problem(path, f"is empty; name at least one trick; {alone}")
    elif not value and kind != "cumulative":
        check.problem(path, f'is empty; kind = "{printable(kind)}" needs at least one trick')
    items: list[Item] = []
    for number, entry in enumerate(value):
        here = (*path, number)
        item = _item(check, names, here, entry)
        if item is None:
            continue
        if kind != "cumulative":
            trunk = list(base)
        else:
            trunk = [*base, *(x for i in items if not i.branch for x in i.labels)]
        if any(item.labels == other.labels and item.branch == other.branch for other in items):
            check.problem(here, f"'{_joined(item)}' stands twice in this stack")
            continue
        if twice := _already(names, trunk, item):
            check.problem(here, f"'{printable(twice)}' is in the row above already")
            continue
        items.append(item)
    return tuple(items)


def _already(names: Names, trunk: list[str], item: Item) -> str | None:
    """The first label of `item` all of whose tricks are in the trunk already."""
    present = {leaf for label in trunk for leaf in names.leaves(label)}
    for label in item.labels:
        leaves = names.leaves(label)
        if leaves and present.issuperset(leaves):
            return label
    return None


def _item(check: Checker, names: Names, path: Path, entry: Any) -> Item | None:
    if isinstance(entry, str):
        return Item((entry,), False, path) if names.usable(path, entry) else None
    if not isinstance(entry, list):
        check.problem(path, f"expected the name of a trick or a list of them, found {found(entry)}")
        return None
    if not entry:
        check.problem(path, "is empty; name at least one trick")
        return None
    labels: list[str] = []
    sound = True
    for number, label in enumerate(entry):
        here = (*path, number)
        if not isinstance(label, str):
            check.problem(here, f"expected the name of a trick, found {found(label)}")
            sound = False
        elif not names.usable(here, label):
            sound = False
        elif label in labels:
            check.problem(here, f"'{printable(label)}' stands twice")
            sound = False
        else:
            labels.append(label)
    return Item(tuple(labels), True, path) if sound else None


def _joined(item: Item) -> str:
    return printable(" + ".join(item.labels))


def _columns(check: Checker, path: Path, value: Any) -> tuple[Settings, ...]:
    """The columns of a grid, `{ batch_size = [256, 1024] }`, or of a list of settings."""
    if isinstance(value, list):
        columns = []
        for number, entry in enumerate(value):
            here = (*path, number)
            settings = check.settings(here, entry)
            if isinstance(entry, dict) and not entry:
                check.problem(here, "is empty; name at least one setting")
            if settings in columns:
                check.problem(here, "is the same column as one before it")
            columns.append(settings)
    elif isinstance(value, dict):
        grid = _grid(check, path, value, ())
        count = math.prod(len(values) for _, values in grid)
        if count > MAX_COLUMNS:
            check.problem(path, f"has {count:,} columns; at most {MAX_COLUMNS:,}")
            return ({},)
        columns = []
        for values in itertools.product(*(values for _, values in grid)):
            column: dict[str, Any] = {}
            for (key, _), setting in zip(grid, values, strict=True):
                column = settings_over(column, _nested(key, setting))
            columns.append(column)
        columns = columns if grid else []
    else:
        check.wrong(path, "a table or a list of tables", value)
        return ({},)
    if not columns and not check.within(path):
        check.problem(path, "is empty; name at least one setting")
    return tuple(columns) or ({},)


def _grid(
    check: Checker, path: Path, table: Mapping[str, Any], above: Path
) -> list[tuple[Path, list[Any]]]:
    """(setting, its values) for each axis."""
    axes: list[tuple[Path, list[Any]]] = []
    for key, value in table.items():
        here, name = (*path, key), (*above, key)
        if not above and key not in SETTINGS:
            check.unknown(here, SETTINGS, "recipe")
        elif isinstance(value, dict):
            axes += _grid(check, here, value, name)
        elif not isinstance(value, list) or not value:
            check.wrong(here, "a list of values", value)
        else:
            for number, item in enumerate(value):
                if item in value[:number]:
                    check.problem((*here, number), "stands twice")
                _check_setting(check, (*here, number), name, item)
            axes.append((name, value))
    return axes


def _check_setting(check: Checker, path: Path, name: Path, value: Any) -> None:
    """Report what is wrong with one value of a setting, at the value's own place."""
    from pydantic import ValidationError

    from ablate.study.messages import findings

    if name == ("model",) and isinstance(value, str):
        check.model_name(path, value)
        return
    nested = _nested(name, value)
    try:
        Recipe.model_validate({"model": "any", **nested})
    except ValidationError as error:
        for finding in findings(error.errors(include_url=False), nested, SETTINGS, "setting"):
            check.problem((*path, *finding.path[len(name) :]), finding.message, key=finding.key)


def _nested(path: Path, value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def _tune(check: Checker, path: Path, value: Any) -> tuple[Settings, bool]:
    """`{ lr = [0.1, 0.3] }` or `{ lr.factor = [0.3, 1, 3] }`, and whether it has `once = true`."""
    table = dict(check.table(path, value, "a table, as in tune = { lr.factor = [0.3, 1, 3] }"))
    once = table.pop(ONCE, False)
    if not isinstance(once, bool):
        check.wrong((*path, ONCE), "true or false", once)
    for key, choices in table.items():
        here = (*path, key)
        if key not in SETTINGS:
            check.unknown(here, (*SETTINGS, ONCE), "recipe")
            continue
        if isinstance(choices, dict) and (other := [k for k in choices if k != "factor"]):
            message = f"unknown setting{did_you_mean(other[0], ['factor'])}"
            check.problem((*here, other[0]), message, key=True)
            continue
        if isinstance(choices, dict) and choices:
            here, factors = (*here, "factor"), choices["factor"]
            sound = isinstance(factors, list) and factors
            if key not in _NUMBERS:
                check.problem((*path, key), "is no number that a factor could multiply", key=True)
                continue
            for number, factor in enumerate(factors if sound else ()):
                if factor in factors[:number]:
                    check.problem((*here, number), "stands twice")
                elif isinstance(factor, bool) or not isinstance(factor, int | float) or factor <= 0:
                    message = f"expected a number above 0, found {found(factor)}"
                    check.problem((*here, number), message)
        else:
            sound = isinstance(choices, list) and choices
            for number, choice in enumerate(choices if sound else ()):
                if choice in choices[:number]:
                    check.problem((*here, number), "stands twice")
                _check_setting(check, (*here, number), (key,), choice)
        if not sound:
            nothing = "an empty list" if choices in ([], {"factor": []}) else found(choices)
            check.problem(here, f"expected a list of values, found {nothing}")
    if not table and isinstance(value, dict):
        check.problem(path, "is empty; name at least one setting")
    if table and not check.within(path):
        count = math.prod(len(c["factor"] if isinstance(c, dict) else c) for c in table.values())
        if count == 1:
            check.problem(path, "leaves one setting, which is no choice; write it in [recipe]")
        elif count > MAX_OPTIONS:
            check.problem(path, f"has {count:,} settings for each row; at most {MAX_OPTIONS:,}")
    return table, once is True
