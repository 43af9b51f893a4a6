"""What commands say of an address that several rows answer to, and of the ones they offer."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.core.resolved_study import Row
from ablate.store.store import Store
from tests.helpers.cli_process import Cli
from tests.helpers.small_stores import make_study, new_store

TWO, ONE = "cafe\u0301", "caf\u00e9"


def relabelled(store: Store, *labels: str) -> None:
    """A stored study of which all rows but the first have these labels, as older ones could."""
    values = {"baseline": [0.5, 0.6], "warmup": [0.6, 0.7], "mixup": [0.7, 0.8]}
    made = make_study(store, values, name="old")
    (table,) = made.tables
    rows: list[Row] = [table.rows[0]]
    for row, label in zip(table.rows[1:], labels, strict=True):
        rows.append(row.model_copy(update={"label": label}))
    changed = table.model_copy(update={"rows": tuple(rows)})
    store.save_study(made.model_copy(update={"tables": (changed,)}))


@pytest.mark.parametrize(
    "command",
    [
        ("diff", "old:0", "old:1"),
        ("logs", "old:0/digits/1"),
        ("verify", "old:0/digits/1"),
        ("report", "old", "--baseline", "0"),
    ],
)
def test_commands_refuse_it_and_name_both(
    cli: Cli,
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    relabelled(new_store(tmp_path / "ablate-results"), f"+ {ONE}", "+ 0")
    done = cli(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is more than one row of main: row 0 (baseline) and row 2 (+ 0)" in done.stderr
    assert "@0" in done.stderr
    assert "@2" in done.stderr
    offered = tuple(word.replace(":0", ":@0").replace(":1", ":@1") for word in command)
    offered = tuple("@0" if word == "0" else word for word in offered)
    done = cli(*offered)
    assert "more than one row" not in done.stderr
    if command[0] != "verify":  # for want of its tricks and data
        assert done.returncode == 0, done.stderr


def test_equal_labels_of_a_stored_study(cli: Cli, tmp_path: Path) -> None:
    relabelled(new_store(tmp_path / "ablate-results"), f"+ {ONE}", f"+ {TWO}")
    done = cli("diff", f"old:{ONE}", "old:0")
    assert done.returncode == 2
    assert f"row 1 (+ {ONE}) and row 2 (+ {TWO})" in done.stderr
    assert "old:1 or old:2" in done.stderr
    done = cli("diff", "old:0", "old:2")
    assert done.returncode == 0, done.stderr
    assert "50.0" not in done.stdout.split("→")[1]
