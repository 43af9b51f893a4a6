"""docs/query.md: its examples work, and it has every column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ablate
from ablate.sql.statement import VIEWS
from tests.helpers.environment import ROOT

PAGE = (ROOT / "docs" / "query.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
MAY_BE_EMPTY = ("verdict = 'gain'", "not bool_or(correct)")


@pytest.mark.parametrize("sql", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_work(sql: str, trained: tuple[Path, str, str]) -> None:
    found = ablate.query(sql, store=trained[0] / "ablate-results")
    assert found or any(words in sql for words in MAY_BE_EMPTY)


def test_there_are_examples_of_every_view() -> None:
    assert len(EXAMPLES) >= 8
    for view in VIEWS:
        assert any(re.search(rf"\b{view}\b", sql) for sql in EXAMPLES), view


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_is_described(view: str, trained: tuple[Path, str, str]) -> None:
    section = PAGE.partition(f"\n## {view}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    described = ablate.query(f"describe {view}", store=trained[0] / "ablate-results")
    assert sorted(documented) == sorted(row["column_name"] for row in described)
