"""What a trick brings alone and on top of all others, over the tables that have the sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.moderated import Rule
from tests.helpers.report_studies import key
from tests.helpers.set_studies import (
    PLANTED,
    block,
    built,
    label,
    line,
    of_sets,
    planted,
    set_table,
)

THREE = {
    "cumulative": [(), ("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")],
    "one_at_a_time": [(), ("a",), ("b",), ("c",), ("d",)],
    "leave_one_out": [tuple("abcd"), tuple("bcd"), tuple("acd"), tuple("abd"), tuple("abc")],
}

ALL = {members for sets in THREE.values() for members in sets}


def three(*kinds: str, **more: Any) -> list[Any]:
    return [set_table(kind, THREE[kind], "abcd", **more) for kind in kinds]


def test_attribution_looks_sets_up_in_whichever_tables_have_them() -> None:
    values = planted(PLANTED, "abcd", seeds=4, noise=0.001)
    tables = three(*THREE, seeds=4)
    made = built(*tables, results=of_sets(values))
    assert [[b.name for b in table.blocks] for table in made] == [[], [], ["attribution"]]
    found = block(made[2], "attribution")
    assert found.heads == ("alone", "on top of all others", "difference")  # 11 of 16 sets
    mean = {members: float(np.mean(line)) for members, line in values.items()}
    for trick in "abcd":
        rest = tuple(t for t in "abcd" if t != trick)
        alone = mean[trick,] - mean[()]
        on_top = mean[tuple("abcd")] - mean[rest]
        cells = [cell.value for cell in line(found, trick).cells if cell is not None]
        assert cells == pytest.approx([alone, on_top, alone - on_top])
    by_seed = {members: line for members, line in values.items() if members in ALL}
    # no cell is missing, so that all contrasts have as many
    df = round(Rule(by_seed, 3925).difference(("a",), ()).df, 1)
    # planted: a and b stand in for each other, c and d need each other
    words = {one.label: one.word for one in found.lines}
    assert words == {
        "a": "less together",
        "b": "less together",
        "c": "more together",
        "d": "more together",
    }
    assert {one.verdict for one in found.lines} == {""}
    assert (
        "moderated intervals, not corrected, no verdicts; one fit over 11 rows of cumulative, "
        f"one_at_a_time and leave_one_out ({df:g} df)." in found.caption[-1]
    )


def test_attribution_says_what_was_not_trained_alone() -> None:
    values = planted(PLANTED, "abcd", seeds=3, noise=0.001)
    made = built(*three("cumulative", "leave_one_out"), results=of_sets(values))
    found = block(made[1], "attribution")
    assert [one.label for one in found.lines] == ["a"]
    assert found.caption[-1] == "Not trained both alone and left out: b, c, d."
    for kinds in (("cumulative",), ("one_at_a_time",), ("leave_one_out",)):
        (alone,) = built(*three(*kinds), results=of_sets(values))
        assert alone.blocks == ()


def test_attribution_leaves_incomplete_tricks_out_and_names_them() -> None:
    values = planted(PLANTED, "abcd", seeds=3, noise=0.001)
    done = of_sets(values)
    del done[key(label(("b",)), 1)]
    found = block(built(*three(*THREE), results=done)[2], "attribution")
    assert [one.label for one in found.lines] == ["a", "c", "d"]
    assert found.caption[-1] == "Incomplete: b."
    del done[key(label(()), 0)]  # the baseline: nothing alone is left
    assert built(*three(*THREE), results=done)[2].blocks == ()


def test_tables_of_another_base_or_data_set_are_another_question() -> None:
    values = planted(PLANTED, "abcd", seeds=3, noise=0.001)
    there = of_sets(values) | of_sets(values, dataset="imagewoof")
    for other in ({"dataset": "imagewoof"}, {"base": ("x",)}):
        tables = [*three("one_at_a_time"), *three("leave_one_out", **other)]
        assert [table.blocks for table in built(*tables, results=there)] == [(), ()]
