"""Factorials and orderings: which rows, which orders, what is shared, what is refused."""

from __future__ import annotations

from itertools import pairwise, permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.design import resolve
from ablate.design.rows import every_set, sets_of_orders
from ablate.errors import StudyError
from ablate.planning.plan import make_plan
from ablate.planning.power import family
from ablate.study import load_study
from ablate.study.orderings import sample
from tests.helpers.stand_ins import catalogue

HEAD = """\
[study]
datasets = ["digits"]
seeds = 3
[recipe]
model = "resnet8"
[tricks]
m1 = { use = "mixup", alpha = 0.1 }
m2 = { use = "mixup", alpha = 0.4 }
long = { use = "cosine", set.epochs = 40 }
bc = { bundle = ["resnet_c", "resnet_d"] }
with_long = { bundle = ["warmup", "long"] }
"""  # 11 lines: [[ablation]] is line 12
FOUR = '["mixup", "warmup", "zero_gamma", "cosine"]'


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def loaded(*blocks: str) -> Any:
        file = tmp_path / "mine.toml"
        file.write_text(HEAD + "".join(f"[[ablation]]\n{block}\n" for block in blocks))
        return load_study(file, catalogue=catalogue())

    return loaded


@pytest.fixture
def plan(load: Any, tmp_path: Path) -> Any:
    def planned(*blocks: str) -> ResolvedStudy:
        return resolve(load(*blocks), data_root=tmp_path, command="")

    return planned


def factors(table: Table) -> list[tuple[str, ...]]:
    return [row.factors for row in table.rows]


def test_a_factorial_has_every_set_of_its_entries(plan: Any) -> None:
    text = 'kind = "factorial"\nbase = ["fp16"]\nstack = ["m1", ["warmup", "cosine"], "bc"]'
    (table,) = plan(text).tables
    both = "warmup + cosine"
    assert table.factors == ("m1", both, "bc")
    assert factors(table) == [
        *((), ("m1",), (both,), ("bc",)),
        *(("m1", both), ("m1", "bc"), (both, "bc"), ("m1", both, "bc")),
    ]
    assert [row.label for row in table.rows] == [
        *("fp16", "m1", "warmup + cosine", "bc", "m1 + warmup + cosine", "m1 + bc"),
        *("warmup + cosine + bc", "all 4 tricks"),
    ]
    assert table.rows[-1].tricks == ("fp16", "m1", "warmup", "cosine", "resnet_c", "resnet_d")
    assert {row.above for row in table.rows[1:]} == {0}
    assert table.reference == "baseline"
    assert len({row.keys for row in table.rows}) == 8


def test_orderings_go_forward_and_back_and_share_rows(plan: Any) -> None:
    text = 'kind = "orderings"\nstack = ["mixup", "warmup", "cosine"]'
    (table,) = plan(text).tables
    # by hand: ∅ m mw mwc forward; ∅ c cw (all) in reverse, whose ends are the same rows
    assert factors(table) == [
        *((), ("mixup",), ("mixup", "warmup"), ("mixup", "warmup", "cosine")),
        *(("cosine",), ("warmup", "cosine")),
    ]
    assert table.orders == ((0, 1, 2, 3), (0, 4, 5, 3))
    assert [row.label for row in table.rows][-3:] == ["all 3 tricks", "cosine", "warmup + cosine"]


def test_all_orders_are_all_sets_and_listed_orders_are_those(plan: Any) -> None:
    text = 'kind = "orderings"\nstack = ["mixup", "warmup", "cosine"]\norders = {}'
    (table,) = plan(text.format('"all"')).tables
    assert (len(table.orders), len(table.rows)) == (6, 8)
    assert len(set(table.orders)) == 6
    (table,) = plan(text.format(6)).tables
    assert len(set(table.orders)) == 6
    listed = '[["warmup", "mixup", "cosine"], ["warmup", "cosine", "mixup"]]'
    (table,) = plan(text.format(listed)).tables
    assert factors(table)[1:] == [
        *(("warmup",), ("mixup", "warmup"), ("mixup", "warmup", "cosine")),
        ("warmup", "cosine"),
    ]
    assert table.orders == ((0, 1, 2, 3), (0, 1, 4, 3))


def test_an_order_may_name_an_entry_of_several_tricks(plan: Any) -> None:
    text = 'kind = "orderings"\nstack = [["warmup", "cosine"], "bc"]\norders = {}'
    both = [
        plan(text.format(f'[[{entry}, "bc"], ["bc", {entry}]]')).tables[0].orders
        for entry in ('"warmup + cosine"', '["warmup", "cosine"]')
    ]
    assert both[0] == both[1] == ((0, 1, 2), (0, 3, 2))


def test_cumulative_one_at_a_time_and_leave_one_out_are_11_sets(load: Any, tmp_path: Path) -> None:
    """By hand for a, b, c, d: ∅ a ab abc abcd; b c d; bcd acd abd. 15 rows, 3 seeds each."""
    study = load(*(f'kind = "{k}"\nstack = {FOUR}' for k in (
        "cumulative", "one_at_a_time", "leave_one_out",
    )))  # fmt: skip
    resolved = resolve(study, data_root=tmp_path, command="")
    rows = [row for table in resolved.tables for row in table.rows]
    assert len(rows) == 15
    assert len({row.keys for row in rows}) == len({row.factors for row in rows}) == 11
    assert len(resolved.trials) == 33
    # what is in force tells the trials, and the other way round
    assert len({(row.factors, row.keys) for row in rows}) == 11


def test_plan_says_how_many_trials_are_shared(load: Any, tmp_path: Path) -> None:
    kinds = ("cumulative", "one_at_a_time", "leave_one_out", "orderings", "factorial")
    study = load(*(f'kind = "{kind}"\nstack = ["mixup", "warmup", "cosine"]' for kind in kinds))
    plan = make_plan(study, store=tmp_path / "none", device="cpu", data_root=tmp_path, command="")
    text = str(plan)
    # by hand: 4 + 4 + 4 + 6 + 8 rows, and a factorial has every set; 3 seeds
    assert "24 trials: ● 0 done, ○ 24 new" in text
    assert "26 rows, 8 of them different: 54 trials are shared between rows" in text
    headings = ("row above", "baseline", "full set")
    assert [text.count(f"changes from the {name}") for name in headings] == [1, 3, 1]
    assert "digits · factorial · main effects" in text
    assert "digits · factorial · interactions" in text
    assert "digits · orderings · shares" in text


def test_control_rows_have_the_trunks_factors(plan: Any) -> None:
    (table,) = plan('stack = ["mixup", "long"]').tables
    assert [(row.role, row.factors) for row in table.rows] == [
        *(("baseline", ()), ("step", ("mixup",))),
        *(("control", ("mixup",)), ("step", ("mixup", "long"))),
    ]


def test_entries_that_share_a_name_are_no_factors(plan: Any) -> None:
    """Without mixup the other entry is not whole either: no set tells what is in force."""
    text = 'kind = "leave_one_out"\nstack = ["mixup", ["mixup", "cosine"]]'
    (table,) = plan(text).tables
    assert table.factors == ()
    assert set(factors(table)) == {()}


def test_the_family_of_sets_is_what_the_report_judges(plan: Any) -> None:
    (four,) = plan(f'kind = "factorial"\nstack = {FOUR}').tables
    assert family(four) == (16, 4 + 6)
    (orders,) = plan(f'kind = "orderings"\nstack = {FOUR}').tables
    assert family(orders) == (8, 4)
    # as where a trick resolves to nothing: its effect and its interactions are no comparisons
    rows = {row.factors: row for row in four.rows}
    same = tuple(
        row.model_copy(update={"keys": rows[tuple(f for f in row.factors if f != "mixup")].keys})
        for row in four.rows
    )
    assert family(four.model_copy(update={"rows": same})) == (8, 3 + 3)


BAD = [
    ('kind = "factorial"\nstack = ["adam", "bc", "blurpool", "cosine", "ema", "m1", "warmup"]',
     "14: ablation[0].stack: has 7 entries, which are 128 rows; a factorial has at most 6"),
    ('kind = "orderings"\nstack = ["mixup"]',
     "14: ablation[0].stack: has one entry, which has one order; name at least two"),
    ('kind = "orderings"\nstack = []', "14: ablation[0].stack: is empty"),
    ('kind = "factorial"\nstack = ["m1", "warmup", "m2"]',
     "14: ablation[0].stack[2]: 'm1' and 'm2' both have mixup, and kind = \"factorial\" puts"),
    ('kind = "orderings"\nstack = ["bc", ["warmup", "resnet_d"]]',
     "14: ablation[0].stack[1]: 'bc' and 'warmup + resnet_d' both have resnet_d, and kind"),
    ('kind = "factorial"\nstack = ["warmup", "m2"]\nbase = ["m1"]',
     "14: ablation[0].stack[1]: 'm1' and 'm2' both have mixup"),
    ('kind = "factorial"\nstack = ["mixup", "long"]',
     "14: ablation[0].stack[1]: 'long' brings set.epochs, which kind = \"factorial\" cannot tell"),
    ('kind = "orderings"\nstack = ["mixup", "with_long"]',
     "14: ablation[0].stack[1]: 'long' brings set.epochs"),
    ('stack = ["mixup", "warmup"]\norders = 3',
     '14: ablation[0].orders: goes with kind = "orderings", and this is kind = "cumulative"'),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\norders = 1',
     "15: ablation[0].orders: 1 is out of range; must be at least 2"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\norders = 3',
     "15: ablation[0].orders: 2 entries have 2 orders, and 3 are asked for"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\norders = true',
     '15: ablation[0].orders: expected a whole number, "all" or a list of orders, found true'),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\norders = "every"',
     '15: ablation[0].orders: expected a whole number, "all" or a list of orders'),
    ('kind = "orderings"\norders = "all"\n'
     'stack = ["adam", "bc", "blurpool", "cosine", "ema", "m1", "warmup"]',
     '14: ablation[0].orders: 7 entries have 128 sets; "all" is for at most 6'),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\norders = [["mixup", "warmup"]]',
     "15: ablation[0].orders: name at least two orders"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\n'
     'orders = [["mixup", "warmup"], ["warmup"]]',
     "15: ablation[0].orders[1]: leaves out 'mixup'; an order has every entry of the stack"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\n'
     'orders = [["mixup", "warmup"], ["warmup", "mixupp"]]',
     "15: ablation[0].orders[1][1]: 'mixupp' is no entry of this stack; did you mean 'mixup'?"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\n'
     'orders = [["mixup", "warmup"], ["warmup", "warmup"]]',
     "15: ablation[0].orders[1][1]: 'warmup' stands twice"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\n'
     'orders = [["mixup", "warmup"], ["mixup", "warmup"]]',
     "15: ablation[0].orders[1]: is the same order as one before it"),
    ('kind = "orderings"\nstack = ["mixup", "warmup"]\norders = [3, ["mixup", [7]]]',
     "15: ablation[0].orders[0]: expected an order, a list of the stack's entries, found 3"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), BAD)
def test_what_no_set_can_tell_is_refused_with_its_place(load: Any, text: str, wanted: str) -> None:
    with pytest.raises(StudyError) as caught:
        load(text)
    found = [f"{p.line}: {p.key}: {p.message}" for p in caught.value.problems]
    assert any(line.startswith(wanted) for line in found), found
    assert all(p.message and "\n" not in p.message for p in caught.value.problems)


def test_tricks_that_do_not_fit_together_are_refused_once(plan: Any) -> None:
    with pytest.raises(StudyError) as caught:
        plan('kind = "factorial"\nstack = ["adam", "warmup", "rmsprop", "mixup"]')
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (14, "ablation[0].stack[0]")
    assert "replace build_optimizer" in problem.message
    assert problem.hint is not None
    assert "branch" not in problem.hint  # every entry is one already
    assert problem.hint.startswith("keep one of them in the stack")


@given(st.integers(2, 6), st.data())
@settings(max_examples=40, deadline=None)
def test_orders_go_through_growing_sets(entries: int, data: Any) -> None:
    orders = data.draw(st.lists(st.permutations(range(entries)), min_size=1, max_size=5))
    sets, paths = sets_of_orders(orders)
    assert len(set(sets)) == len(sets)
    assert set(sets) == {tuple(sorted(o[:n])) for o in orders for n in range(entries + 1)}
    for order, path in zip(orders, paths, strict=True):
        grown = [set(sets[row]) for row in path]
        assert [len(one) for one in grown] == list(range(entries + 1))
        assert [(after - before).pop() for before, after in pairwise(grown)] == list(order)
    assert len(every_set(entries)) == 2**entries


def test_sampled_orders_are_the_same_everywhere_and_begin_alike() -> None:
    labels = ["a", "b", "c", "d", "e"]
    first = sample(labels)
    ten = [next(first) for _ in range(10)]
    assert ten[:2] == [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)]
    assert len(set(ten)) == 10
    again = sample(labels)
    assert [next(again) for _ in range(6)] == ten[:6]
    # a value that must not change: stored trials would be of other sets
    assert ten[2:4] == [(2, 3, 1, 0, 4), (3, 0, 1, 2, 4)]
    # the stack's own order does not decide what is drawn
    other = sample(labels[::-1])
    drawn = [[labels[::-1][i] for i in next(other)] for _ in range(10)]
    assert sorted(drawn[2:]) == sorted([[labels[i] for i in order] for order in ten[2:]])


def test_sampled_orders_are_uniform() -> None:
    """First places over many stacks of three, against the χ² of a uniform draw."""
    from scipy.stats import chisquare

    counts = dict.fromkeys(permutations(range(4)), 0)
    for stack in range(1200):
        labels = [f"{stack}-{name}" for name in "abcd"]
        orders = sample(labels)
        next(orders)
        next(orders)
        counts[next(orders)] += 1
    free = {o: n for o, n in counts.items() if o not in ((0, 1, 2, 3), (3, 2, 1, 0))}
    assert sum(counts.values()) == sum(free.values())
    assert chisquare(list(free.values())).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["leave_one_out", "orderings", "factorial"])
def test_whether_the_order_matters_is_asked_of_a_cumulative_table_alone(
    plan: Any, kind: str
) -> None:
    from ablate.planning.plan_text import _order

    def asked(*stacks: str, done: tuple[str, ...] = ()) -> list[str]:
        return _order(SimpleNamespace(resolved=plan(*stacks), work=SimpleNamespace(done=done)))

    alone = f"stack = {FOUR}"
    assert asked(alone)[0].startswith("Does the order matter?")
    # a table that was seen: another one would be another chance to claim something
    assert asked(alone, done=("key",)) == []
    assert asked(alone, f'kind = "{kind}"\nstack = {FOUR}') == []
