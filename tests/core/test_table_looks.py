"""Which look a table is at, and what is left; what makes a table another one."""

from __future__ import annotations

import pytest

from ablate.core.resolved_study import Until
from ablate.core.table_looks import EarlierLook, identity, left_for, look_at
from ablate.stats import LOOKS
from tests.helpers.small_stores import make_study, new_store

THREE, FIVE, TEN = (tuple(range(n)) for n in (3, 5, 10))
PLANNED = [(look.seeds, look.alpha) for look in LOOKS]


def test_a_look_has_the_level_that_is_left_and_keeps_it():
    history: list[EarlierLook] = []
    for seeds, alpha in ((THREE, 0.05), (TEN, 0.0025), (FIVE, 0.00125)):
        look = look_at(history, seeds)
        assert (look.number, look.alpha) == (len(history) + 1, alpha)
        assert look.promise == pytest.approx(0.055)
        history.append(EarlierLook(seeds, look.alpha))
    again = look_at(history, THREE)
    assert (again.number, again.alpha, again.earlier, again.later) == (1, 0.05, (), 2)
    assert (again.next_number, again.next_alpha) == (4, 0.000625)


def test_an_old_or_merged_history_is_summed_up_as_it_is():
    look = look_at([EarlierLook(THREE, 0.05), EarlierLook(FIVE, 0.05)], TEN)
    assert (look.number, look.alpha) == (3, 0.00125)
    assert look.promise == look.error == pytest.approx(0.10125)


def test_planned_looks_have_their_levels_and_need_what_they_sum_up_to():
    until = Until(looks=tuple(PLANNED), number=2)
    assert look_at([EarlierLook(THREE, 0.005, planned=True)], tuple(range(6)), until).alpha == 0.015
    assert left_for([], PLANNED)
    assert left_for([EarlierLook(THREE, 0.005, planned=True)], PLANNED)
    assert left_for([EarlierLook(THREE, 0.005, planned=True), EarlierLook(FIVE, 0.0025)], PLANNED)
    assert not left_for([EarlierLook(THREE, 0.05)], PLANNED)


def test_more_seeds_are_the_same_table_and_other_rows_are_not(tmp_path):
    def of(values, **more):
        resolved = make_study(new_store(tmp_path / "store"), values, **more)
        return identity(resolved, resolved.tables[0], resolved.metric), resolved

    known, resolved = of({"baseline": [0.8, 0.8], "mixup": [0.8, 0.8]})
    assert of({"baseline": [0.8] * 5, "mixup": [0.8] * 5})[0] == known
    assert of({"baseline": [0.8, 0.8], "mixup": [0.8, 0.8]}, name="another", margin=1.0)[0] == known
    assert of({"baseline": [0.8, 0.8], "warmup": [0.8, 0.8]})[0] != known
    assert of({"baseline": [0.8, 0.8], "mixup": [0.8, 0.8]}, epochs=4)[0] != known
    table = resolved.tables[0]
    assert identity(resolved, table, "loss") != known
    assert identity(resolved, table.model_copy(update={"kind": "one_at_a_time"}), "top1") != known
