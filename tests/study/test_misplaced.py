"""Settings in the wrong table, other tools' words for ours, and what a shell does to a list."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from ablate.core.recipe import Recipe
from ablate.errors import StudyError
from ablate.study import load_study
from ablate.study.loader import ProtocolSection, StudySection
from ablate.study.misplaced import HOMES, WORDS
from tests.helpers.stand_ins import catalogue

GOOD = """\
[study]
datasets = ["digits"]
seeds = 2
stack = ["warmup"]
[recipe]
model = "resnet8"
"""


def said(folder: Path, *settings: str, text: str = GOOD) -> str:
    (folder / "mine.toml").write_text(text)
    with pytest.raises(StudyError) as caught:
        load_study(folder / "mine.toml", catalogue=catalogue(), overrides=settings)
    (problem,) = caught.value.problems
    return problem.message


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("study.kind='factorial'", "it belongs under an [[ablation]], beside its stack"),
        ("study.epochs=3", "it belongs under [recipe]"),
        ("study.metric='loss'", "it belongs under [protocol]"),
        ("study.tricks=[]", "here it is called stack"),
        ("recipe.seeds=3", "it belongs under [study]"),
        ("recipe.stack=[]", "it belongs under [study] or an [[ablation]]"),
        ("recipe.margin=1", "it belongs under [protocol]"),
        ("recipe.learning_rate=0.1", "here it is called lr"),
        ("recipe.wd=0", "here it is called weight_decay"),
        (
            "recipe.gamma=0.2",
            "it belongs under [recipe], as schedule.milestones and schedule.gamma",
        ),
        ("recipe.warmup=5", "it is a trick: name it in a stack, its parameters go under [tricks]"),
        ("protocol.wd=0", "here it is called weight_decay under [recipe]"),
        ("protocol.dataset='x'", "here it is called datasets under [study]"),
        ("trial.t.lr=0.1", "here it is set.lr"),
        ("recipe.epoch=3", "did you mean 'epochs'?"),
    ],
)
def test_the_message_says_where_it_belongs(tmp_path: Path, setting: str, where: str) -> None:
    assert said(tmp_path, setting) == f"unknown setting; {where}"


def test_an_optimizer_is_a_trick(tmp_path: Path) -> None:
    message = said(tmp_path, "recipe.optimizer='adamw'")
    assert "SGD" in message
    assert "adamw" in message


@pytest.mark.parametrize(
    ("block", "where"),
    [
        ("lr = 0.1\n", "it belongs under [recipe]"),
        ("[[override]]\nwhen.model = 'resnet8'\ndrop = ['warmup']\nlr = 0.1", "here it is set.lr"),
        ("[[ablation]]\nstack = ['mixup']\nseeds = 2", "it belongs under [study]"),
        (
            "[[ablation]]\nstack = ['mixup']\nover = { wd = [0, 1] }",
            "here it is called weight_decay",
        ),
        ("[[ablation]]\nstack = ['mixup']\ntune = { seeds = [1] }", "it belongs under [study]"),
    ],
)
def test_in_every_table(tmp_path: Path, block: str, where: str) -> None:
    text = block + GOOD if block.startswith("lr") else GOOD + block
    assert said(tmp_path, text=text) == f"unknown setting; {where}"


def test_a_setting_of_the_recipe_among_parameters(tmp_path: Path) -> None:
    message = said(tmp_path, text=GOOD + "[tricks]\nwarmup = { lr = 0.1 }\n")
    assert message == "unknown parameter; the recipe's comes with the trick as set.lr"


def test_every_setting_has_a_home_and_every_word_a_setting() -> None:
    fields = {
        "recipe": set(Recipe.model_fields),
        "study": set(StudySection.model_fields) - {"name", "stack"},
        "protocol": set(ProtocolSection.model_fields),
    }
    for table, names in fields.items():
        assert {name for name, home in HOMES.items() if home == f"[{table}]"} == names
    for word in WORDS.values():
        table, dot, setting = word.partition(".")
        if dot and " " not in word:
            assert setting in fields[table] | {"stack"}
    assert not set(HOMES) & set(WORDS)


def test_an_empty_stack_names_the_form_that_works(tmp_path: Path) -> None:
    text = GOOD.replace('stack = ["warmup"]\n', "")
    assert said(tmp_path, "study.stack=[]") == (
        "is empty; name at least one trick; for a table of the baseline alone write [[ablation]] "
        "with stack = []"
    )
    (tmp_path / "mine.toml").write_text(text + "[[ablation]]\nstack = []\n")
    (alone,) = load_study(tmp_path / "mine.toml", catalogue=catalogue()).ablations
    assert alone.stack == ()


@pytest.mark.parametrize(
    "typed",
    [
        'study.stack=["mixup"]',
        'tricks.warmup={epochs=2,start="low"}',
        'study.datasets=["digits"]',
        'study.stack=["mixup",["warmup"]]',
    ],
)
def test_a_list_whose_quotes_a_shell_took(tmp_path: Path, typed: str) -> None:
    """What a real shell hands on, and that the line which is offered gives what was meant."""

    def shell(words: str) -> str:
        line = ["bash", "-c", f"printf %s {words}"]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    arrived = shell(typed.replace("{", "\\{").replace("}", "\\}"))
    assert '"' not in arrived
    message = said(tmp_path, arrived)
    assert "a shell takes quotes away; put all of it in single ones: --set '" in message
    assert "unknown trick" not in message
    (offered,) = shlex.split(message.partition("--set ")[2])
    assert offered == typed == shell(message.partition("--set ")[2])


def test_text_that_is_no_list_is_text(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    study = load_study(tmp_path / "mine.toml", catalogue=catalogue(), overrides=["study.name=a b"])
    assert study.name == "a b"
