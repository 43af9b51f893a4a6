"""What `check` says of studies whose data sets are functions, which it does not call."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors import AblateError, StudyError
from ablate.planning.check import check_study
from ablate.study import load_study

STUDY = """\
[study]
datasets = ["uncalled_data:flowers"]
stack    = ["label_smoothing"]

[recipe]
model = "{model}"
{more}
"""
SIZED = """\
from ablate import AblateError, Trick, hookimpl

class Sized(Trick):
    '''Refuses a size.'''

    @hookimpl(wrapper=True)
    def resolve_recipe(self, recipe):
        recipe = yield
        if recipe.image_size {condition}:
            raise AblateError(f"not at {{recipe.image_size}} pixels")
        return recipe
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uncalled_data.py").write_text("raise SystemExit\ndef flowers(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)


def checked(folder: Path, text: str) -> tuple[str, ...]:
    (folder / "s.toml").write_text(text)
    return check_study(load_study(folder / "s.toml"), None, "ablate check s.toml").not_called


def test_nothing_is_said_that_depends_on_the_data(tmp_path: Path) -> None:
    text = STUDY.format(model="resnet8", more="").replace(
        '"label_smoothing"]', '"sized"]\nplugins = ["./sized.py"]'
    )
    for condition in ("< 200", "> 200", "== 32"):
        (tmp_path / "sized.py").write_text(SIZED.format(condition=condition))
        assert checked(tmp_path, text) == (
            f"{tmp_path / 'uncalled_data.py'} (data set uncalled_data:flowers)",
        )
    (tmp_path / "sized.py").write_text(SIZED.format(condition="> 0"))
    with pytest.raises(AblateError, match="not at 32 pixels"):
        checked(tmp_path, text)


def test_what_is_wrong_with_any_data_is_said_once(tmp_path: Path) -> None:
    sized = SIZED.format(condition="> 0").replace("not at {recipe.image_size} pixels", "never")
    (tmp_path / "sized.py").write_text(sized)
    text = STUDY.format(model="resnet8", more="").replace(
        '"label_smoothing"]', '"sized"]\nplugins = ["./sized.py"]'
    )
    with pytest.raises(StudyError) as caught:
        checked(tmp_path, text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.message.endswith("never")) == (3, True)


def test_a_bundled_trick_with_a_parameter_that_is_a_function(tmp_path: Path) -> None:
    (tmp_path / "big.pt").write_bytes(b"")
    text = STUDY.format(model="resnet8", more="").replace("label_smoothing", "distill")
    more = '[tricks]\ndistill = { teacher = "uncalled_data:flowers", weights = "big.pt" }\n'
    text = text.replace('"uncalled_data:flowers"', '"digits"') + more
    assert checked(tmp_path, text) == (
        f"{tmp_path / 'uncalled_data.py'} (model uncalled_data:flowers)",
    )
