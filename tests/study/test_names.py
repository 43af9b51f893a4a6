"""Names that two rows, trials or columns would answer to are refused in study files."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ablate.core.resolved_study import ResolvedStudy
from ablate.design import resolve
from ablate.errors import StudyError
from ablate.study import load_study
from tests.helpers.stand_ins import catalogue

HEAD = """\
[study]
datasets = ["digits"]
seeds = 1
[recipe]
model = "resnet8"
image_size = 8
epochs = 1
"""
TWO, ONE = "cafe\u0301", "caf\u00e9"


def resolved(folder: Path, text: str) -> ResolvedStudy:
    (folder / "mine.toml").write_text(HEAD + text, encoding="utf-8")
    study = load_study(folder / "mine.toml", catalogue=catalogue())
    return resolve(study, data_root=folder, command="")


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(StudyError) as caught:
        resolved(folder, text)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_names_that_only_unicode_tells_apart(tmp_path: Path) -> None:
    assert unicodedata.normalize("NFC", TWO) == ONE  # what the standard says of them
    words = "looks like another name here: it has U+0065 U+0301, that one U+00E9"
    tricks = f'[tricks]\n"{ONE}" = {{ use = "mixup" }}\n"{TWO}" = {{ use = "cutmix" }}\n'
    rows = f'[[ablation]]\nkind = "one_at_a_time"\nstack = ["{ONE}"]\n'
    assert refused(tmp_path, tricks + rows) == [f"tricks.\"{TWO}\": '{TWO}' {words}"]
    space = '[tricks]\n"a b" = { use = "mixup" }\n"a\u00a0b" = { use = "cutmix" }\n'
    (said,) = refused(tmp_path, space + '[[ablation]]\nstack = ["a b"]\n')
    assert "it has U+00A0 U+0062, that one U+0020 U+0062" in said
    trials = f'[[ablation]]\nstack = ["mixup"]\n[trial."{ONE}"]\n[trial."{TWO}"]\n'
    assert refused(tmp_path, trials) == [f"trial.\"{TWO}\": '{TWO}' {words}"]
    named = "".join(f'[[ablation]]\nname = "{n}"\nstack = ["mixup"]\n' for n in (ONE, TWO))
    (said,) = refused(tmp_path, named)
    assert said.startswith("ablation[1].name: two ablations are named")
    upper = '[tricks]\nmix = { use = "mixup" }\nMix = { use = "cutmix" }\n'  # case counts
    rows = resolved(tmp_path, upper + '[[ablation]]\nstack = ["mix", "Mix"]\n').tables[0].rows
    assert [row.label for row in rows] == ["baseline", "+ mix", "+ Mix"]


def test_a_stack_is_told_how_its_name_differs_from_the_one_that_there_is(tmp_path: Path) -> None:
    text = f'[[ablation]]\nstack = ["{TWO}"]\n[tricks]\n"{ONE}" = {{ use = "mixup" }}\n'
    (said,) = refused(tmp_path, text)
    assert said.startswith("ablation[0].stack[0]: ")
    assert said.endswith("it has U+0065 U+0301, that one U+00E9")


def test_a_data_set_twice_in_two_writings(tmp_path: Path) -> None:
    text = HEAD.replace('"digits"', f'"imagefolder:{ONE}", "imagefolder:{TWO}"')
    (tmp_path / "mine.toml").write_text(text + '[[ablation]]\nstack = ["mixup"]\n', "utf-8")
    with pytest.raises(StudyError, match=r"study\.datasets\[1\]: .* looks like another name"):
        load_study(tmp_path / "mine.toml", catalogue=catalogue())


@pytest.mark.parametrize("name", ["0", "17", "\u0663"])  # the last: an Arabic three
def test_a_name_that_is_a_number(tmp_path: Path, name: str) -> None:
    text = f'[tricks]\n"{name}" = {{ use = "mixup" }}\n[[ablation]]\nstack = ["mixup"]\n'
    (said,) = refused(tmp_path, text)
    assert said.endswith(f"'{name}' is no name: rows have numbers, and it would be one")


ROWS = {
    "a name that is another row's list": (
        'kind = "one_at_a_time"\nstack = ["warmup + mixup", ["warmup", "mixup"]]',
        "ablation[0].stack[1]: two rows would be called 'warmup + mixup'",
    ),
    "a name that is a row of all": (
        'kind = "factorial"\nstack = ["all 3 tricks", ["warmup", "cutmix"]]\nbase = []',
        "ablation[0].stack[1]: two rows would be called 'all 3 tricks'",
    ),
    "a branch and a step": (
        'stack = [["mixup"], "cosine", "mixup"]',
        "ablation[0].stack[2]: two rows would be called '+ mixup'",
    ),
    "a name with a sign": (
        'kind = "one_at_a_time"\nstack = ["mixup", "+ mixup"]',
        "ablation[0].stack[1]: two rows would be called 'mixup' and '+ mixup'",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_would_have_one_label(tmp_path: Path, case: str) -> None:
    block, said = ROWS[case]
    tricks = """\
[tricks]
"warmup + mixup" = { use = "cutmix" }
"all 3 tricks" = { use = "mixup" }
"+ mixup" = { use = "cutmix" }
[[ablation]]
"""
    (message,) = refused(tmp_path, tricks + block + "\n")
    assert message.startswith(said), message
    assert message.endswith('give it another name, as in [tricks] NAME = { use = "mixup" }')


def test_rows_of_one_label_and_the_same_trials_are_no_matter(tmp_path: Path) -> None:
    """Two tricks that bring one setting: two controls, which are one training."""
    text = """\
[tricks]
mixup = { set.epochs = 2 }
cutmix = { set.epochs = 2 }
[[ablation]]
kind = "one_at_a_time"
stack = ["mixup", "cutmix"]
[[ablation]]
stack = [["mixup"], "warmup", ["cutmix"]]
"""
    alone, steps = resolved(tmp_path, text).tables
    controls = [row for row in alone.rows if row.role == "control"]
    assert [row.label for row in controls] == ["epochs 2 alone"] * 2
    assert controls[0].keys == controls[1].keys
    below = [row for row in steps.rows if row.role == "control"]
    assert [row.label for row in below] == ["+ epochs 2 alone", "+ epochs 2 alone, before cutmix"]
    assert below[0].keys != below[1].keys


def test_columns_that_read_the_same(tmp_path: Path) -> None:
    text = '[[ablation]]\nstack = ["mixup"]\nover = { lr = [0.1, 0.10000001] }\n'
    assert refused(tmp_path, text) == ["ablation[0].over: two columns would be called 'lr 0.1'"]
