"""Keys: what is the same training has the same one."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.helpers.support import trial


@pytest.mark.parametrize(
    ("batch", "parts", "unequal"),
    [(16, 1, False), (16, 4, False), (16, 16, False), (16, 40, False), (5, 4, True), (16, 3, True)],
)
def test_only_unequal_parts_are_in_the_key_as_such(batch: int, parts: int, unequal: bool) -> None:
    made = trial(batch_size=batch, micro_batches=parts)
    identity = made.identity()
    assert ("unequal_parts" in identity) == unequal
    identity.pop("unequal_parts", None)
    before = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    assert (made.key != before) == unequal
