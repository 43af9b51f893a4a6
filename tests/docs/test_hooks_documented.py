"""Every hook has a section in docs/hooks.md that is true, and a test."""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from torch import nn

import ablate
from ablate.core.rng import Draws
from ablate.hookspecs import HOOKS, SLOTS
from ablate.models.surgery import handles, replace
from ablate.testing import train_tiny
from ablate.tricks.base import Trick
from tests.helpers.environment import ROOT

PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_hook_has_a_section_in_the_order_of_the_loop() -> None:
    assert list(SECTIONS) == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_section_has_kind_arguments_and_slots(hook: str) -> None:
    info, text = HOOKS[hook], SECTIONS[hook]
    first = text.strip().splitlines()[0]
    assert first.startswith(info.kind.capitalize())
    assert re.findall(r"`(\w+)`", first) == list(SLOTS.get(hook, ()))
    listed = re.search(r"- Arguments: (.*?)(?=\n- |\n\n)", text, re.DOTALL)
    assert listed
    for argument in info.arguments:
        assert re.search(rf"`{argument}\b", listed[1]), argument
    assert ("- Returns: " in text) == (info.kind != "notification")
    assert ("- Default: " in text) == (info.kind != "notification")


def test_the_table_of_slots_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", PAGE, re.MULTILINE)
    assert {hook: tuple(re.findall(r"`(\w+)`", slots)) for hook, slots in rows} == SLOTS


@pytest.mark.parametrize("hook", HOOKS)
def test_the_loop_calls_it(hook: str) -> None:
    loop = PAGE.split("## The loop")[1].split("```")[1]
    assert re.search(rf"\b{hook}\b", loop)


# What the page says stands for what in its examples.
NAMES: dict[str, Any] = {
    **{name: getattr(ablate, name) for name in ("Trick", "hookimpl", "Factors", "Mixer")},
    **{name: getattr(ablate, name) for name in ("Outputs", "Precision", "Augmentation")},
    "torch": torch,
    "nn": nn,
    "copy": copy,
    "Draws": Draws,
    "handles": handles,
    "replace": replace,
    "PrivateAttr": PrivateAttr,
    "Any": Any,
    "__name__": __name__,
}


def example(*hooks: str) -> type[Trick]:
    """The sections' code as one trick."""
    source = "class Example(Trick):\n"
    for name in ("shadow", "draws", "best"):
        source += f"    _{name}: Any = PrivateAttr(None)\n"
    for hook in hooks:
        [code] = re.findall(r"```python\n(.*?)```", SECTIONS[hook], re.DOTALL)
        assert len(code.splitlines()) <= 6
        source += textwrap.indent(code, "    ")
    names = dict(NAMES)
    exec(compile(source, f"docs/hooks.md, {hooks[-1]}", "exec"), names)
    made: type[Trick] = names["Example"]
    return made


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_trains(hook: str) -> None:
    needs = {"on_step_end": ["on_trial_start"], "eval_model": ["on_trial_start"]}
    trick = example(*needs.get(hook, ()), hook)
    assert hasattr(getattr(trick, hook), "ablate_impl")
    train_tiny([trick()])


def marked_hooks() -> set[str]:
    """Names in `@pytest.mark.hook("…")` of every test function."""
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.hook":
                        found |= {ast.literal_eval(argument) for argument in mark.args}
    return found


def test_every_hook_has_a_test_and_every_mark_names_a_hook() -> None:
    assert marked_hooks() == set(HOOKS)
