"""What a trick changes on a model, found without training; idle tricks refused."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ablate import Trick, hookimpl
from ablate.core.resolved_study import Row, Table
from ablate.core.trial import DatasetRef, Numerics, Trial
from ablate.errors import AblateError
from ablate.planning.preflight import Effect, check_effects, probe
from tests.helpers.support import recipe
from tests.helpers.tiny_studies import spec, study


def trial(model: str, *tricks: Any) -> Trial:
    ref = DatasetRef(name="digits", fingerprint="x", decoder="d", num_classes=10)
    return Trial(
        recipe=recipe(model=model), dataset=ref, tricks=tricks, numerics=Numerics(), seed=0
    )


@pytest.mark.parametrize(
    ("model", "name", "changed"),
    [
        ("resnet50_v1", "zero_gamma", 16),
        ("resnet18", "zero_gamma", 8),
        ("resnet50_v1", "no_bias_decay", 107),
        ("resnet18", "no_bias_decay", 41),
        ("resnet50_v1", "resnet_b", 6),  # two convolutions in each of three stages
        ("resnet18", "warmup", None),
        ("vgg11_bn", "no_bias_decay", 27),  # 11 biases and 8 norms of two
    ],
)
def test_changes_are_counted(model: str, name: str, changed: int | None) -> None:
    assert probe(trial(model, spec(name)))[name] == Effect(changed)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("vgg11", "zero_gamma"),
        ("vgg11", "resnet_d"),
        ("resnet18", "resnet_b"),
        ("resnet50", "resnet_b"),
        ("resnet18_small", "resnet_c"),
    ],
)
def test_idle_tricks_are_found(model: str, name: str) -> None:
    effect = probe(trial(model, spec(name)))[name]
    assert effect.idle
    assert not effect.changed


def test_the_model_is_not_built_for_real() -> None:
    before = torch.get_rng_state()
    probe(trial("resnet50_v1", spec("zero_gamma"), spec("resnet_d")))
    assert torch.equal(before, torch.get_rng_state())


def test_surgery_that_returns_the_model_as_it_was_is_idle(tmp_path: Path) -> None:
    file = tmp_path / "lazy.py"
    file.write_text(
        "from ablate import Trick, hookimpl\n"
        "class Lazy(Trick):\n"
        "    @hookimpl(wrapper=True)\n"
        "    def build_model(self):\n"
        "        return (yield)\n"
    )
    assert probe(trial("resnet8", spec("lazy", file)))["lazy"].idle == "it changes nothing"


def table(*rows: tuple[str, Trial]) -> Any:
    resolved = study(*(made for _, made in rows))
    lines = tuple(
        Row(label=label, tricks=(), role="step", above=None, keys=(made.key,))
        for label, made in rows
    )
    made = Table(
        ablation="main",
        kind="cumulative",
        dataset="digits",
        column="",
        reference="above",
        seeds=(0,),
        rows=lines,
    )
    return resolved.model_copy(update={"tables": (made,)})


def test_a_row_with_an_idle_trick_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(AblateError, match="zero_gamma has no effect on vgg11") as caught:
        check_effects(table(("+ zero_gamma", trial("vgg11", spec("zero_gamma")))))
    assert 'drop = ["zero_gamma"]' in str(caught.value.hint)


def test_surgery_that_raises_is_refused_before_training_and_names_row_and_trick(
    tmp_path: Path,
) -> None:
    file = tmp_path / "breaks.py"
    file.write_text(
        "from ablate import Trick, hookimpl\n"
        "class Breaks(Trick):\n"
        "    @hookimpl\n"
        "    def build_model(self):\n"
        "        raise KeyError('stem')\n"
    )
    with pytest.raises(AblateError, match=r"row '\+ breaks': trick 'breaks', build_model: K") as e:
        check_effects(table(("+ breaks", trial("resnet8", spec("breaks", file)))))
    assert e.value.exit_code == 2


def test_a_bundle_is_refused_only_if_no_member_acts() -> None:
    members = [
        spec(name).model_copy(update={"bundle": "resnet_bcd"})
        for name in ("resnet_b", "resnet_c", "resnet_d")
    ]
    notes = check_effects(table(("+ resnet_bcd", trial("resnet18", *members))))
    assert len(notes) == 1
    assert "resnet_b changes nothing on resnet18" in notes[0]
    with pytest.raises(AblateError, match="resnet_bcd has no effect on vgg11"):
        check_effects(table(("+ resnet_bcd", trial("vgg11", *members))))


class Wrapper(Trick):
    @hookimpl(wrapper=True)
    def init_model(self) -> Generator[None, nn.Module, nn.Module]:
        return (yield)


def test_initialisation_that_writes_nothing_is_idle() -> None:
    from ablate.planning.preflight import _effect

    assert _effect(Wrapper(), [Wrapper()], recipe(), 10).idle == "it changes nothing"
