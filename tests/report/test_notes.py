"""What the plan warned of, in the tables that it is about."""

from __future__ import annotations

from pathlib import Path

from ablate.design import resolve
from ablate.report.tables.notes import known_before
from ablate.study import load_study

STUDY = """\
[study]
datasets = ["digits"]
seeds = 2

[recipe]
model = "resnet8"
epochs = 3
batch_size = 64
lr = 0.1
image_size = 8

[tricks]
averaged = { use = "ema", decay = 0.9999 }
warmup = { epochs = 2 }
adam = { set.lr = 0.1 }

[[ablation]]
name = "sizes"
stack = ["averaged", "cosine"]
over = { batch_size = [64, 128] }

[[ablation]]
name = "rates"
stack = ["warmup", "adam"]
"""


def notes(folder: Path) -> dict[str, list[str]]:
    file = folder / "mine.toml"
    file.write_text(STUDY, encoding="utf-8")
    resolved = resolve(load_study(file), data_root=None, command="")
    tables = {f"{t.ablation} {t.column}".strip(): t for t in resolved.tables}
    return {name: known_before(resolved, table) for name, table in tables.items()}


def test_each_table_has_those_of_its_own_rows_and_each_of_them_once(tmp_path: Path) -> None:
    found = notes(tmp_path)
    for column, steps in (("64", 54), ("128", 27)):  # of 1,198 images
        [said] = found[f"sizes batch_size {column}"]  # not again for the row that keeps it
        assert said.startswith(f"+ averaged: {0.9999**steps:.1%} of the average")
        assert f"over {steps} steps" in said
    begins = [
        "warmup of 2 epochs is cut to 1.5, half of the 3 trained",
        "adam trains at the recipe's lr 0.1",
        "+ warmup: warmup: the learning rate never reaches the recipe's 0.1",
    ]
    for begin in begins:
        assert [text.startswith(begin) for text in found["rates"]].count(True) == 1
    assert len(found["rates"]) == 3
