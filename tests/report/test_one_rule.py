"""Every interval of every kind of table is the one rule's, worked out by other means.

Studies of eight sets of tricks with planted numbers, in worlds that the rule tells apart: equal
noise, two seeds, a row that stands out, noise that grows with the error rate, a cell that is
missing, a metric that is no share of images, the level of a look. `tests.helpers.moderated` has
the rule; nothing here is a number of ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from ablate.core.resolved_study import Table, Until
from ablate.report import render_json
from ablate.report.model import Block, ReportTable
from ablate.sql.effects import effects
from ablate.stats import Effect
from tests.helpers.asked_stores import (
    CLASSES,
    IMAGES,
    LABELS,
    ask,
    of_tables,
    scores_of,
    stored,
)
from tests.helpers.compared_studies import VALUES as PUBLISHED
from tests.helpers.compared_studies import table4
from tests.helpers.moderated import Rule, Told, combined, seeds_for, smallest_seen, two_way
from tests.helpers.reference_tables import NETTE, WOOF, nette, show, woof
from tests.helpers.report_studies import Result, State, cumulative, key
from tests.helpers.report_studies import table as plain_table
from tests.helpers.set_studies import (
    block,
    built,
    label,
    line,
    of_sets,
    orderings,
    set_table,
    subsets,
)
from tests.helpers.small_stores import IMAGES as SMALL
from tests.helpers.small_stores import make_study, new_store

Set = tuple[str, ...]

TRICKS = "abc"
SUBSETS = subsets(TRICKS)
FULL = tuple(TRICKS)
LADDER: list[Set] = [(), ("a",), ("a", "b"), FULL]
LEVELS = dict(zip(SUBSETS, (0.80, 0.82, 0.81, 0.85, 0.86, 0.84, 0.87, 0.88), strict=True))
EXAMPLES = 3925


@dataclass(frozen=True)
class World:
    """seeds of each row, the sd of a row's noise, and what is odd."""

    name: str
    seeds: int
    noise: Mapping[Set, float] = field(default_factory=dict)
    levels: Mapping[Set, float] = field(default_factory=lambda: LEVELS)
    lost: tuple[tuple[Set, int], ...] = ()
    metric: str = "top1"
    alpha: float = 0.05

    @property
    def values(self) -> dict[Set, np.ndarray]:
        """[seeds] of every set, NaN where the training diverged."""
        rng = np.random.default_rng(len(self.name))
        luck = rng.normal(0, 0.01, self.seeds)
        found = {
            members: self.levels[members]
            + luck
            + rng.normal(0, self.noise.get(members, 0.004), self.seeds)
            for members in SUBSETS
        }
        for members, seed in self.lost:
            found[members][seed] = np.nan
        return found

    @property
    def seconds(self) -> dict[Set, np.ndarray]:
        """Epoch times, [seeds]."""
        rng = np.random.default_rng(5)
        return {
            s: np.exp(rng.normal(2 + len(s) / 10, 0.02, self.seeds)) * (1 + np.arange(self.seeds))
            for s in SUBSETS
        }

    def results(self, **more: Any) -> dict[str, Result]:
        done = of_sets(self.values, examples=EXAMPLES, **more)
        for members, times in self.seconds.items():
            for seed, time in enumerate(times):
                at = key(label(members), seed, **more)
                done[at] = replace(done[at], epoch_seconds=[99.0, time, time])
        return {k: r for k, r in done.items() if np.isfinite(r.final["top1"])}

    def built(self, *tables: Table, results: Mapping[str, Any] | None = None) -> list[ReportTable]:
        states = {key(label(members), seed): State("diverged") for members, seed in self.lost}
        until = Until(looks=((self.seeds, self.alpha), (20, 0.05 - self.alpha)), number=1)
        more = {} if self.alpha == 0.05 else {"until": until}
        return built(
            *tables,
            results=self.results() if results is None else results,
            states=states,
            metric=self.metric,
            margin=0.5 if self.metric == "top1" else 0.01,
            **more,
        )

    def rule(self, sets: Sequence[Set]) -> Rule:
        lines = {s: self.values[s] for s in sets}
        if self.metric == "loss":
            return Rule({s: 1 - v for s, v in lines.items()}, None)
        return Rule(lines, EXAMPLES)


GROWING = dict(zip(SUBSETS, (0.5, 0.4, 0.35, 0.3, 0.2, 0.15, 0.1, 0.06), strict=True))
WORLDS = [
    World("equal noise", 3),
    World("two seeds", 2),
    World("ab stands out", 5, {("a", "b"): 0.036}),
    World("a and nothing else stands out", 4, {("a",): 0.06}),
    World(
        "noise grows with the error",
        8,
        {s: error / 15 for s, error in GROWING.items()},
        {s: 1 - error for s, error in GROWING.items()},
    ),
    World("a and ab miss a cell", 4, lost=((("a",), 1), (("a", "b"), 2))),
    World("a loss", 4, metric="loss"),
    World("a look", 3, alpha=0.005),
]
WHOLE = [world for world in WORLDS if not world.lost]


def in_worlds(worlds: Sequence[World]) -> Any:
    return pytest.mark.parametrize("world", worlds, ids=lambda world: world.name)


def interval(effect: Effect | None, told: Told, alpha: float = 0.05) -> None:
    assert effect is not None
    assert effect.delta == pytest.approx(told.estimate, rel=1e-7, abs=1e-10)
    assert effect.se == pytest.approx(told.se, rel=1e-7)
    assert effect.df == pytest.approx(told.df, rel=1e-7)
    assert (effect.low, effect.high) == pytest.approx(told.interval(1 - alpha), rel=1e-6, abs=1e-9)


def same(effect: Effect | None, told: Told, alpha: float) -> None:
    """All that an effect prints, but for what is corrected over its family."""
    interval(effect, told, alpha)
    assert effect is not None
    assert effect.p == pytest.approx(told.p, rel=1e-6, abs=1e-12)
    found = (effect.low_inner, effect.high_inner)  # that equivalence uses
    assert found == pytest.approx(told.interval(1 - 2 * alpha), rel=1e-6, abs=1e-9)


def holm(found: Sequence[Effect], told: Sequence[Told]) -> None:
    """The family's p values, corrected by statsmodels."""
    adjusted = multipletests([each.p for each in told], method="holm")[1]
    assert [effect.p_holm for effect in found] == pytest.approx(adjusted, rel=1e-6, abs=1e-12)


def lined(found: Block, head: str) -> dict[str, Effect]:
    at = found.heads.index(head)
    cells = {one.label: one.cells[at] for one in found.lines}
    return {name: cell.effect for name, cell in cells.items() if cell and cell.effect}


def mean_over(sets: Sequence[Set], sign: Any) -> dict[Set, float]:
    """Rows by sign, as weights of the mean of those above 0 less that of those below."""
    signs = {s: sign(s) for s in sets}
    ups = sum(v > 0 for v in signs.values())
    return {s: v / ups for s, v in signs.items()}


# ----------------------------------------------------------------------------- rows of a table


ROWS = {
    "cumulative": (LADDER, "abc", True),
    "one_at_a_time": ([(), ("a",), ("b",), ("c",)], "abc", False),
    "leave_one_out": ([FULL, ("b", "c"), ("a", "c"), ("a", "b")], "abc", False),
}


@in_worlds(WORLDS)
@pytest.mark.parametrize("kind", ROWS)
def test_rows_and_their_total(kind: str, world: World) -> None:
    sets, factors, total = ROWS[kind]
    (made,) = world.built(set_table(kind, sets, factors, seeds=world.seeds, total=total))
    assert made.alpha == world.alpha
    rule = world.rule(sets)
    pairs = list(pairwise(sets)) if kind == "cumulative" else [(sets[0], s) for s in sets[1:]]
    told = [rule.difference(row, reference) for reference, row in pairs]
    found = [row.delta.effect for row in made.rows[1:] if row.delta]
    told += [rule.difference(sets[-1], sets[0])] if total else []
    found += [made.total.delta.effect] if made.total else []
    for effect, each in zip(found, told, strict=True):
        same(effect, each, world.alpha)
    holm([effect for effect in found if effect], told)
    for members, row in zip(sets[1:], made.rows[1:], strict=True):
        assert row.base is not None
        same(row.base.effect, rule.difference(members, sets[0]), world.alpha)
    degrees = [each.df for each in told]
    assert (made.df, made.df_most) == pytest.approx((min(degrees), max(degrees)))


def test_the_worlds_are_told_apart() -> None:
    """Else one rule for all of them would prove little."""
    named = {world.name: world for world in WORLDS}
    assert not named["equal noise"].rule(LADDER).stands_out
    assert named["ab stands out"].rule(LADDER).stands_out
    assert named["a and nothing else stands out"].rule(LADDER).stands_out
    assert 0 < named["noise grows with the error"].rule(SUBSETS).exponent < 2.5
    degrees = {
        round(world.rule(LADDER).difference(("a",), ()).df, 1)
        for world in WORLDS
        if world.seeds > 2
    }
    assert len(degrees) > 3


@in_worlds(WORLDS)
def test_times_are_ratios_on_logarithms(world: World) -> None:
    """At 95% whatever the level of the verdicts: nothing is claimed of them."""
    (made,) = world.built(set_table("cumulative", LADDER, TRICKS, seeds=world.seeds, total=True))
    logs = {s: np.log(world.seconds[s]) for s in LADDER}
    for members, seed in world.lost:
        logs[members][seed] = np.nan
    rule = Rule(logs, None)
    told = [rule.difference(row, above) for above, row in pairwise(LADDER)]
    told.append(rule.difference(FULL, ()))
    assert made.total is not None
    found = [*(row.ratio for row in made.rows[1:]), made.total.ratio]
    for ratio, each in zip(found, told, strict=True):
        assert ratio is not None
        assert ratio.ratio == pytest.approx(np.exp(each.estimate))
        assert (ratio.low, ratio.high) == pytest.approx(np.exp(each.interval()))


@in_worlds(WORLDS)
def test_json_prints_the_same(world: World) -> None:
    made = world.built(set_table("cumulative", LADDER, TRICKS, seeds=world.seeds, total=True))
    (document,) = json.loads(render_json(made))["tables"]
    rule, scale = world.rule(LADDER), 100 if world.metric == "top1" else 1
    told = [rule.difference(row, above) for above, row in pairwise(LADDER)]
    for row, each in zip(document["rows"][1:], told, strict=True):
        low, high = each.interval(1 - world.alpha)
        wanted = [each.estimate * scale, low * scale, high * scale, each.df]
        assert [row["delta"][k] for k in ("delta", "low", "high", "df")] == pytest.approx(
            wanted, abs=1e-7
        )
    told.append(rule.difference(FULL, ()))
    assert document["df"] == pytest.approx(min(each.df for each in told))


@pytest.mark.parametrize(
    ("make", "lines"),
    [(nette, NETTE), (woof, WOOF), (table4, PUBLISHED)],
    ids=["nette", "woof", "table4"],
)
def test_the_made_up_tables_of_other_tests_print_it(make: Any, lines: Any) -> None:
    """Their transcripts are layouts: these are the intervals that stand in them."""
    (made,) = make()
    values = {name: np.array(line) / 100 for name, line in lines.items()}
    if make is woof:
        values["+ zero_gamma"][1] = np.nan
    rule, text = Rule(values, EXAMPLES), show([made], 200)
    printed = [
        (name, rule.difference(name, above), row.delta)
        for (above, name), row in zip(pairwise(values), made.rows[1:], strict=True)
    ]
    last = rule.difference(list(values)[-1], next(iter(values)))
    printed += [(made.total.label, last, made.total.delta)] if made.total else []
    assert len(printed) == 5
    for name, told, delta in (each for each in printed if each[0] in text):
        wanted = f"{name} .* {said(told.estimate)} \\[{said(told.interval()[0])}, "
        assert delta is not None
        found = re.search(f"{wanted}{said(told.interval()[1])}\\]".replace("+", "\\+"), text)
        assert (found is not None) == (delta.effect is not None)
    if make is not woof:
        worst = max((told for _, told, _ in printed), key=lambda told: told.se)
        family = (len(made.rows), made.comparisons)
        assert made.detectable == pytest.approx(
            100 * smallest_seen(worst.se, worst.df, made.comparisons), rel=1e-4
        )
        assert made.seeds_needed == seeds_for(0.005, worst, len(made.seeds), *family)


def said(value: float) -> str:
    """As the terminal has it, in points."""
    return f"{100 * value:+.1f}".replace("-", "−")


# ------------------------------------------------------------------- what rows ask together


@in_worlds(WHOLE)
def test_main_effects_and_interactions(world: World) -> None:
    (made,) = world.built(set_table("factorial", SUBSETS, TRICKS, seeds=world.seeds))
    rule, found = world.rule(SUBSETS), lined(block(made, "factorial"), "effect")
    told = {
        t: rule.contrast(mean_over(SUBSETS, lambda s, t=t: 1 if t in s else -1)) for t in TRICKS
    }
    for pair in ("ab", "ac", "bc"):
        signs = mean_over(SUBSETS, lambda s, p=pair: 1 if (p[0] in s) == (p[1] in s) else -1)
        # what one brings with the other less what it brings without: twice the mean of means
        told[" × ".join(pair)] = rule.contrast({s: 2 * v for s, v in signs.items()})
    assert list(found) == list(told)
    for name, each in told.items():
        same(found[name], each, world.alpha)
    holm(list(found.values()), list(told.values()))


def shares(orders: Sequence[Sequence[str]], trick: str) -> list[dict[Set, float]]:
    """What `trick` adds in each order, as weights of two rows."""
    found = []
    for order in orders:
        before = tuple(sorted(order[: list(order).index(trick)]))
        found.append({tuple(sorted((*before, trick))): 1.0, before: -1.0})
    return found


def average(steps: Sequence[Mapping[Set, float]]) -> dict[Set, float]:
    total: dict[Set, float] = {}
    for step in steps:
        for members, weight in step.items():
            total[members] = total.get(members, 0.0) + weight / len(steps)
    return total


@in_worlds(WHOLE)
@pytest.mark.parametrize("orders", [["abc", "cba"], ["".join(p) for p in permutations("abc")]])
def test_shares_of_orders_and_what_each_order_adds(orders: list[str], world: World) -> None:
    (made,) = world.built(orderings(orders, seeds=world.seeds))
    shapley = block(made, "shapley")
    rule, found = world.rule(reached(orders)), lined(shapley, "share")
    told = {trick: rule.contrast(average(shares(orders, trick))) for trick in TRICKS}
    for trick, each in told.items():
        same(found[trick], each, world.alpha)
    holm([found[trick] for trick in told], list(told.values()))
    if len(orders) == 2:
        for number in range(2):
            inside = lined(shapley, f"order {number + 1}")
            for trick in TRICKS:
                each = rule.contrast(shares(orders, trick)[number])
                same(inside[trick], each, world.alpha)


@in_worlds(WHOLE)
def test_shares_of_orders_that_were_drawn(world: World) -> None:
    """The moderated noise of trainings, and on top what the orders differ beyond it."""
    orders = ["abc", "cab", "bca", "acb"]
    (made,) = world.built(orderings(orders, seeds=world.seeds))
    rule, found = world.rule(reached(orders)), lined(block(made, "shapley"), "share")
    for trick in TRICKS:
        steps = shares(orders, trick)
        each, all_of_it = [rule.contrast(step) for step in steps], rule.contrast(average(steps))
        spread = np.var([one.estimate for one in each], ddof=1)
        by_noise = (sum(one.se**2 for one in each) - 4 * all_of_it.se**2) / 3
        se = np.sqrt(all_of_it.se**2 + max(0, spread - by_noise) / 4)
        same(found[trick], Told(all_of_it.estimate, se, min(3, all_of_it.df)), world.alpha)


def reached(orders: Sequence[str]) -> list[Set]:
    sets = (tuple(sorted(order[:length])) for order in orders for length in range(4))
    return list(dict.fromkeys(sets))


# ----------------------------------------------------------------------- across several tables


@in_worlds(WORLDS)
def test_attribution_over_the_tables_that_have_the_sets(world: World) -> None:
    tables = [
        set_table(kind, sets, factors, seeds=world.seeds)
        for kind, (sets, factors, _) in ROWS.items()
    ]
    found = block(world.built(*tables)[2], "attribution")
    rule = world.rule(list(dict.fromkeys(s for sets, _, _ in ROWS.values() for s in sets)))
    whole = {s for s, v in world.values.items() if np.isfinite(v).all()}
    tricks = [t for t in TRICKS if {(t,), without(t)} <= whole]
    assert [one.label for one in found.lines] == tricks
    for trick in tricks:
        alone = {(trick,): 1.0, (): -1.0}
        on_top = {FULL: 1.0, without(trick): -1.0}
        gap = alone | {s: -weight for s, weight in on_top.items()}
        parts = [alone, on_top, gap]
        if len(whole) == len(SUBSETS):  # all are trained, in one table or another
            parts.append(average(shares(["".join(p) for p in permutations(TRICKS)], trick)))
        for head, weights in zip(found.heads, parts, strict=True):
            same(lined(found, head)[trick], rule.contrast(weights), world.alpha)


def without(trick: str) -> Set:
    return tuple(t for t in TRICKS if t != trick)


@in_worlds(WHOLE)
def test_mean_and_difference_of_two_data_sets(world: World) -> None:
    other = World("the other data set", world.seeds, {FULL: 0.02}, metric=world.metric)
    tables = [
        set_table("cumulative", LADDER, TRICKS, seeds=world.seeds, dataset=name, total=True)
        for name in ("imagenette", "imagewoof")
    ]
    done = world.results() | other.results(dataset="imagewoof")
    found = block(world.built(*tables, results=done)[1], "data_sets")
    pairs = [*((row, above) for above, row in pairwise(LADDER)), (FULL, ())]
    rules = [each.rule(LADDER) for each in (world, other)]
    for one, pair in zip(found.lines, pairs, strict=True):
        both = [rule.difference(*pair) for rule in rules]
        told = [
            *both,
            combined([(0.5, each) for each in both]),
            combined([(1.0, both[0]), (-1.0, both[1])]),
        ]
        for cell, each in zip(one.cells, told, strict=True):
            assert cell is not None
            interval(cell.effect, each, world.alpha)


# ------------------------------------------------------------------- what single images say


RIGHT = np.array([[scores_of(r, s).argmax(1) == LABELS for s in range(4)] for r in range(4)])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    rows = cumulative("warmup", "mixup", "zero_gamma")
    resolved = of_tables(plain_table(rows, 4, dataset="own:data"))
    return resolved, stored(tmp_path_factory.mktemp("asked") / "store", resolved)


def test_new_images_have_the_seeds_noise_of_the_table(asked: tuple[Any, Any]) -> None:
    table = ask(*asked, new_images=True)
    rule = Rule(dict(enumerate(RIGHT.mean(axis=2))), IMAGES)
    for one, pair in zip(
        block(table, "new_images").lines, [(1, 0), (2, 1), (3, 2), (3, 0)], strict=True
    ):
        of_seeds = rule.difference(*pair)
        first, second = one.cells
        assert first is not None
        assert second is not None
        same(first.effect, of_seeds, 0.05)
        interval(second.effect, two_way(RIGHT[pair[0]], RIGHT[pair[1]], of_seeds))


def test_each_class_is_a_table_of_its_own(asked: tuple[Any, Any]) -> None:
    table = ask(*asked, per_class=True)
    found = block(table, "classes")
    for number in range(CLASSES):
        mine = RIGHT[:, :, number == LABELS]
        rule = Rule(dict(enumerate(mine.mean(axis=2))), mine.shape[2])
        cells = line(found, f"class {number}").cells[1:]
        for cell, pair in zip(cells, [(1, 0), (2, 1), (3, 2)], strict=True):
            assert cell is not None
            same(cell.effect, rule.difference(*pair), 0.05)


STORED = {
    "baseline": (0.902, 0.897, 0.894),
    "warmup": (0.898, 0.902, 0.904),
    "mixup": (0.910, 0.897, 0.922),
    "cosine": (0.951, 0.949, 0.953),
}


def test_the_view_of_all_effects(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    make_study(store, STORED)
    told = [row for row in effects(store, pytest.fail) if row.get("delta") is not None]
    rule, names = Rule(STORED, SMALL), list(STORED)
    for row in told:
        name = names[-1] if row["role"] == "total" else row["label"].removeprefix("+ ")
        each = rule.difference(name, row["reference"].removeprefix("+ "))
        wanted = [100 * each.estimate, 100 * each.se, each.df, each.p]
        assert [row[k] for k in ("delta", "se", "df", "p")] == pytest.approx(wanted, rel=1e-6)
        low, high = each.interval()
        assert (row["low"], row["high"]) == pytest.approx((100 * low, 100 * high), rel=1e-6)
    assert len(told) == 6  # three steps, two of them to the baseline as well, and the total
