"""The tests of ablate: folders have the names of its packages, `helpers` what they share."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.helpers")
