"""One compiled function per graph: counted against torch's own counter, results against eager.

torch traces for real here; what it traced is run as it is (the backend "eager"), so that every
result must be that of the plain model to the bit. tests/runner/test_fast.py compiles.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from ablate import Outputs, Trick
from ablate.core.trial import Numerics
from ablate.data.cache import ensure_cache
from ablate.data.loader import open_data
from ablate.engine import compiled
from ablate.engine.loop import train
from ablate.errors import AblateError
from ablate.models import build_model
from ablate.models.init import initialise
from ablate_tricks.dropout import Dropout
from ablate_tricks.ema import Ema
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.progressive_resizing import ProgressiveResizing
from ablate_tricks.sam import Sam
from ablate_tricks.stochastic_depth import StochasticDepth
from ablate_tricks.zero_gamma import ZeroGamma
from tests.helpers import support
from tests.helpers.support import Memory, same, weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiled, "_BACKEND", "eager")
    monkeypatch.setattr(compiled, "_FUNCTIONS", {})
    compiled.prepare()
    torch.set_num_threads(1)
    yield
    torch._dynamo.reset()


def net(width: int = 4, seed: int = 0, name: str = "resnet8") -> nn.Module:
    """A model of this width, or of this name, with its own weights."""
    if name != "resnet8":
        return initialise(build_model(name, 10), seed).train()
    layers = [nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return initialise(model, seed).train()


def images(size: int = 8, count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(count, 3, size, size, generator=generator)


def unique() -> int:
    """torch's own count of the graphs that it made."""
    return int(counters["stats"]["unique_graphs"])


def test_every_architecture_size_and_mode_is_a_graph_and_a_second_instance_is_none() -> None:
    graphs, before = compiled.count(), unique()
    for seed in (0, 1):
        for width in range(1, 13):  # more than torch keeps for one code object
            model = net(width, seed)
            plain = copy.deepcopy(model)
            compiled.compile_forward(model, "net")
            for size in (8, 12):
                assert torch.equal(model(images(size)), plain(images(size)))
            model.eval()
            plain.eval()
            with torch.inference_mode():
                assert torch.equal(model(images()), plain(images()))
        assert len(graphs.used) == unique() - before == 36
    assert graphs.recompiled == graphs.broken == 0
    again = compiled.count()
    model = net(3, 2)
    compiled.compile_forward(model, "net")
    model(images())
    assert list(again.used.values()) == ["warm"]
    assert again.summary()["graph_keys"][0] in graphs.summary()["graph_keys"]


def test_a_copy_runs_compiled_with_its_own_weights() -> None:
    model = net()
    compiled.compile_forward(model, "net")
    first = model(images())
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(2)
    plain = net()
    plain.load_state_dict(copied.state_dict())
    before = unique()
    assert torch.equal(copied(images()), plain(images()))
    assert unique() == before, "the same graph"
    assert not torch.equal(copied(images()), first)


def test_the_process_keeps_no_model() -> None:
    model = net()
    compiled.compile_forward(model, "net")
    model(images()).sum().backward()
    gone = weakref.ref(model.get_submodule("0").weight)
    del model
    gc.collect()
    assert gone() is None


def test_what_hangs_in_a_hook_is_part_of_the_graph() -> None:
    """Surgery may attach a layer to a module's forward hook."""
    for factor in (1, 2, 2):
        model = net()
        model.get_submodule("2").register_forward_hook(lambda *a, f=factor: f * a[2])
        plain = copy.deepcopy(model)
        compiled.compile_forward(model, "net")
        assert torch.equal(model(images()), plain(images()))


def train_with(
    tricks: Sequence[Trick], on: bool, saved: Any = None, **settings: Any
) -> tuple[dict[str, torch.Tensor], list[Any], compiled.Graphs, Memory]:
    """Weights, metrics of each epoch and graphs of a tiny trial, compiled or not."""
    numerics = Numerics.named("fast", "cpu", compiles=on)
    made = support.trial(limit=60, **settings).model_copy(update={"numerics": numerics})
    cached = ensure_cache("digits", None, 8).limited(60)
    memory, graphs = Memory(saved=saved), compiled.count()
    run = train(
        made,
        tricks,
        lambda augmentations: open_data(cached, made.recipe, augmentations, made.seed, CPU),
        CPU,
        memory,
    )
    return weights(run), [r["metrics"] for r in memory.records], graphs, memory


@pytest.mark.parametrize(
    ("tricks", "settings", "expected"),
    [
        ([], {}, 2),
        pytest.param([LabelSmoothing(), ZeroGamma()], {}, 2, marks=pytest.mark.long),
        ([Sam(rho=0.1)], {}, 2),
        pytest.param([Ema(decay=0.5)], {}, 2, marks=pytest.mark.long),
        pytest.param([StochasticDepth(p=0.5)], {}, 2, marks=pytest.mark.long),
        ([Dropout(p=0.5)], {}, 2),
        pytest.param([], {"micro_batches": 3}, 3, marks=pytest.mark.long),  # of 6 and 5 images
        ([ProgressiveResizing(start=0.5, until=1.0, step=4)], {"image_size": 16, "epochs": 3}, 4),
    ],
    ids=["plain", "same graph", "sam", "ema", "noise", "dropout", "micro-batches", "sizes"],
)
def test_training_compiled_is_training(
    tricks: list[Trick], settings: dict[str, Any], expected: int
) -> None:
    before = unique()
    ours, metrics, graphs, memory = train_with(tricks, on=True, **settings)
    plain, plain_metrics, none, _ = train_with(tricks, on=False, **settings)
    assert same(ours, plain)
    assert metrics == plain_metrics
    assert len(graphs.used) == unique() - before == expected
    assert graphs.recompiled == graphs.broken == 0
    assert not none.used
    resumed = train_with(tricks, on=True, saved=memory.states[0], **settings)
    assert same(resumed[0], ours)
    assert unique() == before + expected, "a resumed training compiles nothing"


class TwoHeads(nn.Module):
    """Logits, and in training an auxiliary head's too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head, self.other = nn.Linear(4, 10), nn.Linear(4, 10)

    def forward(self, images: torch.Tensor) -> Outputs | torch.Tensor:
        features = self.body(images)
        if not self.training:
            return self.head(features)
        return Outputs(self.head(features), ((0.3, self.other(features)),))


def test_auxiliary_heads_are_traced_whole() -> None:
    model, graphs = initialise(TwoHeads(), 0).train(), compiled.count()
    plain = copy.deepcopy(model)
    compiled.compile_forward(model, "two heads")
    out, expected = model(images()), plain(images())
    assert torch.equal(out.logits, expected.logits)
    assert torch.equal(out.aux[0][1], expected.aux[0][1])
    assert out.aux[0][0] == 0.3
    assert len(graphs.used) == 1
    assert graphs.broken == 0


class Broken(nn.Module):
    """What torch cannot trace as a whole: what it does depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.layer(images.flatten(1))
        return features * 2 if features.sum().item() > 0 else features - 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, on the way to its answer
def test_a_model_in_several_graphs_trains_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, graphs = initialise(Broken(), 0).train(), compiled.count()
    plain = copy.deepcopy(model)
    compiled.compile_forward(model, "broken")
    assert torch.equal(model(images()), plain(images()))
    assert graphs.broken >= 1
    assert "could not trace it as a whole" in caplog.text


def test_a_graph_made_twice_is_noticed() -> None:
    """Something changed that neither key nor torch takes for the same graph."""
    model, graphs = net(), compiled.count()
    compiled.compile_forward(model, "net")
    model(images())
    assert graphs.recompiled == 0
    model.get_submodule("1").eval()
    model(images())
    assert graphs.recompiled == 1


def test_what_does_not_compile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("no code for this")

    monkeypatch.setattr(compiled, "_BACKEND", refuse)
    model = net()
    compiled.compile_forward(model, "resnet8")
    with pytest.raises(AblateError, match=r'resnet8 does not compile, numerics = "exact".*no code'):
        model(images())
