"""Keys: what is the same training has the same one, in stores of before too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ablate.core.trial import Trial
from ablate.report.tables.settings import changed_settings
from tests.helpers.support import trial

EQUAL = [(16, 1), (16, 4), (16, 16), (16, 40), (1, 8)]
UNEQUAL = [(5, 4), (16, 3), (10, 4)]


def before(made: Trial) -> dict[str, Any]:
    """As it was stored when parts counted alike."""
    return made.model_dump(mode="json") | {"engine": 1}


@pytest.mark.parametrize(("batch", "parts"), EQUAL)
def test_equal_parts_have_the_key_that_they_had(batch: int, parts: int) -> None:
    made = trial(batch_size=batch, micro_batches=parts)
    assert made.engine == 1
    assert Trial.model_validate(before(made)).key == made.key


@pytest.mark.parametrize(("batch", "parts"), UNEQUAL)
def test_unequal_parts_have_another_and_what_is_stored_keeps_its_own(
    batch: int, parts: int
) -> None:
    made = trial(batch_size=batch, micro_batches=parts)
    stored = Trial.model_validate_json(json.dumps(before(made)))
    assert (made.engine, stored.engine) == (2, 1)
    assert stored.key != made.key
    again = Trial.model_validate_json(made.model_dump_json())
    assert (again, again.key) == (made, made.key)


def test_two_rows_of_today_do_not_differ_in_the_engine() -> None:
    whole, parts = trial(batch_size=5), trial(batch_size=5, micro_batches=4)
    assert [change.name for change in changed_settings(whole, parts)] == ["micro batches"]
    stored = Trial.model_validate(before(parts))
    assert [change.name for change in changed_settings(stored, parts)] == ["engine"]
