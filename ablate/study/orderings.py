"""What kinds whose rows are sets of a stack's entries ask of the stack, and the key `orders`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from math import factorial
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import printable
from ablate.study.messages import found
from ablate.study.model import Item
from ablate.study.toml_positions import Path
from ablate.study.trick_configs import Names
from ablate.study.validator import Checker

Orders = tuple[tuple[int, ...], ...]

MAX_ENTRIES = 6  # whose every subset is a row: 64
MAX_ORDERS = 1000


def check_sets(
    check: Checker, names: Names, path: Path, items: Sequence[Item], base: Sequence[str], kind: str
) -> None:
    """Report what keeps a row from being told by the set of its entries. path: of the stack."""
    if check.within(path):
        return
    if kind == "factorial" and len(items) > MAX_ENTRIES:
        check.problem(
            path,
            f"has {len(items)} entries, which are {_sets(len(items))} rows; a factorial has at "
            f"most {MAX_ENTRIES} entries, {2**MAX_ENTRIES} rows",
            hint='put the settled ones into base, or sample orders: kind = "orderings", '
            "orders = 10",
        )
        return
    if kind == "orderings" and len(items) == 1:
        check.problem(path, "has one entry, which has one order; name at least two")
    owners: dict[str, str] = {}
    for label in base:
        owners |= dict.fromkeys(_tricks(names, label), printable(label))
    for item in items:
        _check_settings(check, names, item, kind)
        own = entry_label(item.labels)
        tricks = {trick for label in item.labels for trick in _tricks(names, label)}
        for trick in sorted(tricks & set(owners)):
            check.problem(
                item.path,
                f"'{owners[trick]}' and '{printable(own)}' both have {printable(trick)}, and "
                f'kind = "{kind}" puts them in one row',
                hint='keep one of them, or compare them with kind = "one_at_a_time"',
            )
        owners = dict.fromkeys(tricks, printable(own)) | owners


def read_orders(
    check: Checker,
    path: Path,
    block: Mapping[str, Any],
    items: Sequence[Item],
    stack: Path,
    kind: str,
) -> Orders:
    """The orders of an ablation of kind "orderings", each the indices of all `items`.

    Forward and reverse without the key. path: of the ablation, stack: of its stack. Nothing for
    another kind, nor where the stack itself is wrong.
    """
    here = (*path, "orders")
    if kind != "orderings":
        if "orders" in block:
            message = f'goes with kind = "orderings", and this is kind = "{printable(kind)}"'
            check.problem(here, message, key=True)
        return ()
    if check.within(stack):
        return ()
    forward = tuple(range(len(items)))
    value = block.get("orders", 2)
    if isinstance(value, list):
        return _given(check, here, value, items)
    if value == "all":
        if len(items) > MAX_ENTRIES:
            check.problem(
                here,
                f'{len(items)} entries have {_sets(len(items))} sets; "all" is for at most '
                f"{MAX_ENTRIES} entries",
                hint="write how many orders to sample, as in orders = 10",
            )
            return ()
        return tuple(permutations(forward))
    if isinstance(value, bool) or not isinstance(value, int):
        check.problem(here, f'expected a whole number, "all" or a list of orders, {_found(value)}')
        return ()
    if not 2 <= value <= MAX_ORDERS:
        message = f"{value} is out of range; must be at least 2 and at most {MAX_ORDERS:,}"
        check.problem(here, message)
        return ()
    count = factorial(min(len(items), MAX_ENTRIES + 1))  # more have more orders than are drawn
    if value > count:
        message = f"{len(items)} entries have {count:,} orders, and {value:,} are asked for"
        check.problem(here, message, hint='for all of them: orders = "all"')
        return ()
    sampled = sample([entry_label(item.labels) for item in items])
    return tuple(next(sampled) for _ in range(min(value, count)))


def sample(labels: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Orders of the entries without repeats: forward, reverse, then at random, without end.

    Each draw sorts the entries by a hash of (all labels, number of the draw, label): the same stack
    always gives the same orders, and more of them begin with those of fewer. So a study that asks
    for more orders keeps its trials.
    """
    forward = tuple(range(len(labels)))
    seen = {forward, forward[::-1]}
    yield forward
    if forward[::-1] != forward:
        yield forward[::-1]
    draw = 0
    while True:
        ranks = [_hash([*sorted(labels)], draw, label) for label in labels]
        order = tuple(sorted(forward, key=lambda entry: ranks[entry]))
        draw += 1
        if order not in seen:
            seen.add(order)
            yield order


def entry_label(labels: Sequence[str]) -> str:
    """What an entry of a stack is called: "mixup", "distill + mixup"."""
    return " + ".join(labels)


def _sets(entries: int) -> str:
    """How many sets so many entries have, where a number still says something."""
    return f"{2**entries:,}" if entries <= 20 else f"more than {2**20:,}"


def _hash(*parts: Any) -> bytes:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def _tricks(names: Names, label: str) -> set[str]:
    return {names.trick_of(leaf) for leaf in names.leaves(label)}


def _check_settings(check: Checker, names: Names, item: Item, kind: str) -> None:
    """Refuse a trick's own settings: with and without it are then two recipes, not one."""
    waiting, seen = list(item.labels), set(item.labels)
    while waiting:
        config = names.configs.get(waiting.pop(0))
        if config is None:
            continue
        if config.settings:
            keys = ", ".join(f"set.{printable(key)}" for key in config.settings)
            check.problem(
                item.path,
                f"'{printable(config.label)}' brings {keys}, which kind = \"{kind}\" cannot tell "
                "from the trick",
                hint="put it into [recipe], for every row; or take "
                'kind = "one_at_a_time", which trains it without the trick too',
            )
            return
        waiting += [member for member in config.members if member not in seen]
        seen |= set(config.members)


def _given(check: Checker, path: Path, value: list[Any], items: Sequence[Item]) -> Orders:
    """Orders that the file lists, by the entries' names."""
    known = {entry_label(item.labels): number for number, item in enumerate(items)}
    if len(value) > MAX_ORDERS:
        check.problem(path, f"has {len(value):,} orders; at most {MAX_ORDERS:,}")
        return ()
    orders: list[tuple[int, ...]] = []
    for number, entry in enumerate(value):
        here = (*path, number)
        if not isinstance(entry, list):
            check.problem(
                here, f"expected an order, a list of the stack's entries, {_found(entry)}"
            )
            continue
        order = _one_order(check, here, entry, known)
        if order is None:
            continue
        if order in orders:
            check.problem(here, "is the same order as one before it")
        orders.append(order)
    if len(value) < 2 and not check.within(path):
        message = "name at least two orders; one order is what a cumulative table has"
        check.problem(
            path, message, hint='forward and reverse: leave orders away; or orders = "all"'
        )
    return tuple(orders)


def _one_order(
    check: Checker, path: Path, entry: list[Any], known: Mapping[str, int]
) -> tuple[int, ...] | None:
    found_entries: list[int] = []
    for number, name in enumerate(entry):
        here = (*path, number)
        parts = name if isinstance(name, list) else [name]
        if not parts or not all(isinstance(part, str) for part in parts):
            check.problem(here, f"expected an entry of the stack, {_found(name)}")
            return None
        label = entry_label(parts)
        if label not in known:
            close = did_you_mean(label, list(known))
            check.problem(here, f"'{printable(label)}' is no entry of this stack{close}")
            return None
        if known[label] in found_entries:
            check.problem(here, f"'{printable(label)}' stands twice")
            return None
        found_entries.append(known[label])
    left_out = [label for label, index in known.items() if index not in found_entries]
    if left_out:
        missing = ", ".join(f"'{printable(label)}'" for label in left_out)
        check.problem(path, f"leaves out {missing}; an order has every entry of the stack")
        return None
    return tuple(found_entries)


def _found(value: Any) -> str:
    return f"found {found(value)}"
