"""The commonest mistakes of authors: trick, hook, file, line and a way out are said."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from ablate import Trick
from ablate.errors import AblateError, TrickError
from ablate.testing import ContractError, Hooks, check_trick
from ablate.tricks.discovery import load_catalogue
from tests.helpers.support import Memory, run

HEAD = """\
\"\"\"A trick.\"\"\"
from typing import Any
import torch
from pydantic import Field, PrivateAttr
from ablate import Outputs, Trick, hookimpl


class Wrong(Trick):
"""


def wrong(tmp_path: Path, body: str) -> type[Trick]:
    """The class of a loose file whose class has this body, from line 9 on."""
    (tmp_path / "wrong.py").write_text(HEAD + body, encoding="utf-8")
    return load_catalogue(["wrong.py"], base=tmp_path).load("wrong").cls


def line_of(body: str, text: str) -> int:
    [number] = [n for n, line in enumerate((HEAD + body).splitlines(), 1) if text in line]
    return number


COUNTS = """\
    count: int = Field(0, description="steps")

    @hookimpl
    def on_step_end(self, run: Any) -> None:
        {statement}
"""


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("self.count += 1", "sets self.count, and a trick's parameters are frozen; what changes is "
         "kept in a private attribute: `_count: Any = PrivateAttr(None)`"),
        ("self.seen = 1", "sets self.seen, and a trick's parameters are frozen; what changes is "
         "kept in a private attribute: `_seen: Any = PrivateAttr(None)`"),
        ("run.recipe.lr = 1.0", "sets lr of the recipe, which is frozen; resolve_recipe returns "
         "another recipe"),
        ("Outputs(torch.zeros(1)).aux = ()", "FrozenInstanceError: cannot assign to field 'aux'; "
         "return a new one"),
        ("{}['x']", "KeyError: 'x'"),
        ("torch.zeros(2) + torch.zeros(3)", "RuntimeError: The size of tensor a"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_says_where_state_is_kept(
    tmp_path: Path, statement: str, message: str
) -> None:
    body = COUNTS.replace("{statement}", statement)
    with pytest.raises(TrickError) as caught:
        run([wrong(tmp_path, body)()], epochs=1)
    said = caught.value.message
    assert said.startswith(f"trick 'wrong', on_step_end: {message}")
    assert f"(wrong.py:{line_of(body, statement)})" in said
    assert "\n" not in said
    assert "pydantic.dev" not in said


UNSAVED = """\
    _steps: Any = PrivateAttr(None)

    @hookimpl
    def on_trial_start(self) -> None:
        self._steps = 0

    @hookimpl(wrapper=True)
    def transform_gradients(self) -> Any:
        grads = yield
        self._steps += 1
        return [g / self._steps for g in grads]
"""
SAVES = """
    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps}
"""
LOADS = """
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]
"""


def resumed(cls: type[Trick]) -> Any:
    _, memory = run([cls()])
    return run([cls()], Memory(saved=copy.deepcopy(memory.states[0])))


def test_state_that_was_not_saved_is_said_where_it_is_missing(tmp_path: Path) -> None:
    cls = wrong(tmp_path, UNSAVED)
    line = line_of(UNSAVED, "self._steps += 1")
    with pytest.raises(TrickError) as caught:
        resumed(cls)
    assert caught.value.message == (
        "trick 'wrong', transform_gradients: TypeError: unsupported operand type(s) for +=: "
        f"'NoneType' and 'int' (wrong.py:{line}); a resumed trial does not call on_trial_start: "
        "save _steps by state_dict(), and take it back in load_state_dict(state)"
    )
    with pytest.raises((TrickError, ContractError), match=r"save _steps by state_dict\(\)"):
        check_trick(cls)


def test_a_state_that_nothing_takes_back_is_refused_when_resumed(tmp_path: Path) -> None:
    with pytest.raises(TrickError, match=r"'wrong', state_dict: saves a state that nothing takes"):
        resumed(wrong(tmp_path, UNSAVED + SAVES))


def test_state_that_was_saved_goes_on_and_another_error_then_is_said_plainly(
    tmp_path: Path,
) -> None:
    body = UNSAVED + SAVES + LOADS
    resumed(wrong(tmp_path, body))
    check_trick(wrong(tmp_path, body))
    broken = body.replace("self._steps += 1", "self._steps += 1 if self._steps < 3 else None")
    with pytest.raises(TrickError) as caught:
        resumed(wrong(tmp_path, broken))
    assert "on_trial_start" not in caught.value.message


def test_an_error_in_the_first_training_says_nothing_of_resuming(tmp_path: Path) -> None:
    with pytest.raises(TrickError) as caught:
        run([wrong(tmp_path, UNSAVED.replace("self._steps = 0", "pass"))()])
    assert "resumed" not in caught.value.message


WRAPPER = """\
    @hookimpl(wrapper=True)
    def encode_targets(self, labels: Any) -> Any:
        {body}
"""


@pytest.mark.parametrize(
    ("lines", "message", "at"),
    [
        ("targets = yield", "returned None; is a `return` missing?", "@hookimpl"),
        ("yield; targets = yield; return targets", "yield` once .*; it did twice", "targets ="),
        ("if len(labels) == 99: return (yield)", "yield` once .*; it never did", "@hookimpl"),
        ("targets = yield; return targets[1:]", "returned a tensor of shape", "@hookimpl"),
    ],
)
def test_what_a_wrapper_forgot_is_said_with_its_line(
    tmp_path: Path, lines: str, message: str, at: str
) -> None:
    body = WRAPPER.replace("{body}", lines)
    with pytest.raises(TrickError) as caught:
        run([wrong(tmp_path, body)()], epochs=1)
    said = caught.value.message
    assert re.match(rf"trick 'wrong', encode_targets: .*{message}", said), said
    assert said.endswith(f" (wrong.py:{line_of(body, at)})")


MARKED = """\
    @hookimpl{options}
    def {hook}(self) -> Any:
        {body}
"""


@pytest.mark.parametrize(
    ("options", "hook", "body", "message"),
    [
        ("", "encode_targets", "return (yield)", "with a `yield`: use @hookimpl(wrapper=True)"),
        ("", "on_step_end", "yield", "with a `yield`, but it is notification: nothing is wrapped"),
        ("", "extra_losses", "yield {}", "with a `yield`, but it is collected: nothing is wrapped"),
        (
            "(wrapper=True)",
            "encode_targets",
            "return 1",
            "without a `yield` in it: `value = yield`",
        ),
        ("(hookwrapper=True)", "encode_targets", "yield", "with hookwrapper=True: use @hookimpl("),
        ("(wrapper=True)", "on_step_end", "yield", "which is notification: use @hookimpl without"),
    ],
)
def test_a_yield_too_many_or_too_few_is_refused_before_anything_runs(
    tmp_path: Path, options: str, hook: str, body: str, message: str
) -> None:
    text = MARKED.format(options=options, hook=hook, body=body)
    with pytest.raises(AblateError) as caught:
        Hooks([wrong(tmp_path, text)()])
    assert message in caught.value.message
    assert caught.value.message.endswith(" (wrong.py:9)")


def test_a_method_without_the_mark_has_its_line(tmp_path: Path) -> None:
    body = "    def on_step_end(self) -> None: ...\n"
    with pytest.raises(AblateError, match=r"without @hookimpl is never called \(wrong\.py:9\)"):
        wrong(tmp_path, body)


def logs(hook: str, name: str, trick: str) -> Trick:
    from torch import tensor

    from ablate import hookimpl

    def logged(self: Trick) -> dict[str, Any]:
        return {name: 1.0 if hook == "extra_metrics" else tensor(1.0)}

    logged.__name__ = hook
    made = type("Logs", (Trick,), {hook: hookimpl(logged), "__module__": __name__, "name": trick})
    return made()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["top1", "loss", "train_loss", "lr", "top5", "train_loss/x"])
def test_a_metric_does_not_take_the_place_of_a_measured_one(name: str) -> None:
    with pytest.raises(TrickError, match=rf"'mine', extra_metrics: returned '{name}', which is"):
        run([logs("extra_metrics", name, "mine")], epochs=1)


@pytest.mark.parametrize("hook", ["extra_losses", "extra_metrics"])
def test_two_tricks_do_not_log_under_one_name(hook: str) -> None:
    """Of two losses the mean was logged, of two metrics the last."""
    with pytest.raises(TrickError, match=rf"'b', {hook}: returned 'x', as trick 'a' does"):
        run([logs(hook, "x", "a"), logs(hook, "x", "b")], epochs=1)
    _, memory = run([logs(hook, "x", "a"), logs(hook, "y", "b")], epochs=1)
    prefix = "train_loss/" if hook == "extra_losses" else ""
    assert {f"{prefix}x", f"{prefix}y"} <= memory.records[0]["metrics"].keys()


def test_a_hook_that_is_none_is_said_by_the_helper() -> None:
    with pytest.raises(AttributeError, match=r"'encode_target' is no hook; did you mean 'encode_t"):
        Hooks([]).encode_target  # noqa: B018
    assert not hasattr(Hooks([]), "__deepcopy__")
