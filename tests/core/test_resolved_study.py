"""Rows and their choices: as every release stored them, and in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ablate.core.resolved_study import Row, Tuning, by_seeds, unchosen_in_words

BEFORE = {
    "label": "mixup",
    "tricks": ["mixup"],
    "role": "step",
    "above": 0,
    "keys": ["k0", "k1", "k2"],
}
# A row as releases stored it that let a row choose once, and what it is now.
STORED: dict[str, tuple[dict[str, Any], tuple[Any, ...], tuple[bool, ...]]] = {
    "nothing is tuned": (
        {"tuning": [], "chosen": None, "unchosen": ""},
        ((), (), ()),
        (False,) * 3,
    ),
    "older still": ({}, ((), (), ()), (False,) * 3),
    "chosen": (
        {"tuning": ["a", "b"], "chosen": 1, "unchosen": ""},
        ((("a", "b"),) * 3, (1,) * 3, ("",) * 3),
        (False,) * 3,
    ),
    "not chosen": (
        {"tuning": ["a", "b"], "chosen": None, "unchosen": "every setting diverged"},
        ((("a", "b"),) * 3, (None,) * 3, ("every setting diverged",) * 3),
        (True,) * 3,
    ),
}


@pytest.mark.parametrize("case", STORED)
def test_rows_that_chose_once_are_read_as_each_seeds(case: str) -> None:
    stored, expected, are_open = STORED[case]
    row = Row.model_validate_json(json.dumps(BEFORE | stored))
    assert (row.tuning, row.chosen, row.unchosen) == expected
    assert row.open == are_open
    assert row.trained == (() if are_open[0] else row.keys)
    # and written as they were: releases that know nothing of seeds that choose can read them
    again = json.loads(row.model_dump_json())
    assert again | stored == again
    assert Row.model_validate(again) == row


def test_seeds_that_differ_are_written_apart() -> None:
    each = {"tuning": (("a", "b"), ("c", "d"), ("e", "f")), "chosen": (1, None, 1),
            "unchosen": ("", "not yet", "")}  # fmt: skip
    row = Row.model_validate(BEFORE | each)
    assert (row.open, row.trained) == ((False, True, False), ("k0", "k2"))
    assert row.reasons == (None, "not yet", None)
    assert row.choosing == ("a", "b", "c", "d", "e", "f")
    assert Row.model_validate_json(row.model_dump_json()) == row
    assert json.loads(row.model_dump_json())["chosen"] == [1, None, 1]


def test_a_tuning_of_before_was_once() -> None:
    stored = {"options": [{"lr": 0.1}, {"lr": 0.3}], "labels": ["lr 0.1", "lr 0.3"],
              "words": "lr chosen of 0.1, 0.3", "held_out": 10, "seed": 0}  # fmt: skip
    assert Tuning.model_validate(stored).once
    assert Tuning.model_validate({k: v for k, v in stored.items() if k != "seed"}).once
    assert not Tuning.model_validate(stored | {"seed": None}).once


def test_what_seeds_have_in_words() -> None:
    assert by_seeds(["0.3", "0.1", "0.3"]) == "0.3 (2 of 3 seeds), 0.1 (1 of 3)"
    assert by_seeds(["0.3"] * 3) == "0.3"
    assert by_seeds(["0.3", None]) == "0.3 (1 of 2 seeds)"
    assert by_seeds([None, None]) == ""
    assert unchosen_in_words(["lr"], ["not yet"] * 2) == "lr not chosen yet"
    assert unchosen_in_words(["lr", "epochs"], ["not yet", None, "all diverged"]) == (
        "lr and epochs not chosen yet (1 of 3 seeds), not chosen: all diverged (1 of 3)"
    )
