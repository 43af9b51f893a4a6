"""A model that is none, cannot take the images or has no deterministic gradient: said at once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.core.trial import Numerics, Trial
from ablate.errors import AblateError
from ablate.models import build_model
from ablate.models.check import _NOT_DETERMINISTIC, check_fed
from ablate.models.pooling import AdaptiveAverage, adaptive_average, deterministic_average
from tests.helpers import support
from tests.helpers.cli_process import run_cli

OWN = """
import torch
from torch import nn

def nothing(num_classes): return None
def raises(num_classes): raise OSError("no weights here\\nnor there")
def three(num_classes): return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
def pair(num_classes):
    class Pair(nn.Module):
        def forward(self, x): return x, x
    return Pair()
class Counting(nn.Module):
    '''Looks at its numbers, which the meta device has none of.'''
    def __init__(self, classes):
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, classes)
    def forward(self, x):
        y = self.fc(x.flatten(1))
        return y if y.abs().sum().item() >= 0 else -y
def counting(num_classes): return Counting(num_classes)
def reflecting(num_classes):
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(nn.Conv2d(3, 3, 1), conv, nn.Flatten(), nn.Linear(4 * 8 * 8, num_classes))
"""
STUDY = """
[study]
datasets = ["digits"]
seeds = 1
stack = ["{trick}"]

[recipe]
# not model = "{model}" here
model = "{model}"
epochs = 1
image_size = {size}
"""


def ablate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(*arguments, cwd=folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "feasible_own.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


BAD = {
    "timm/nothing": "unknown timm model 'nothing'",
    "no_such_package:build": "no_such_package does not import: no module named 'no_such_package'",
    "feasible_own.deeper:build": "does not import: no module named 'feasible_own.deeper'",
    "feasible_own:missing": "feasible_own has no function 'missing'",
}
# What calling them tells.
CALLED = {
    "feasible_own:nothing": "returned NoneType, not a torch.nn.Module",
    "feasible_own:raises": "raised OSError: no weights here nor there",
}


def test_all_models_that_are_none_are_refused_by_check(folder: Path) -> None:
    files = []
    for number, model in enumerate(BAD):
        files.append(f"s{number}.toml")
        (folder / files[-1]).write_text(STUDY.format(model=model, size=8, trick="cosine"))
    done = ablate(folder, "check", *files)
    assert done.returncode == 2, done.stderr
    lines = done.stdout.splitlines()
    for file, line, message in zip(files, lines, BAD.values(), strict=False):
        assert line.startswith(f"{file}:9: ")
        assert message in line
    assert lines[len(BAD) :] == ["4 problems in 4 of 4 files"]


@pytest.mark.parametrize("model", CALLED)
def test_and_by_plan_where_they_must_be_called(folder: Path, model: str) -> None:
    (folder / "s.toml").write_text(STUDY.format(model=model, size=8, trick="cosine"))
    done = ablate(folder, "check", "s.toml")
    assert done.returncode == 0
    place = folder / "feasible_own.py"
    assert f"  not called: {place} (model {model}); ablate plan calls it\n" in done.stdout
    done = ablate(folder, "plan", "s.toml", "--store", "store")
    assert done.returncode == 2
    assert CALLED[model] in done.stderr


@pytest.mark.parametrize("command", [pytest.param("plan", marks=pytest.mark.long), "run"])
def test_and_before_anything_is_trained(folder: Path, command: str) -> None:
    """With a trick that says nothing of the model."""
    (folder / "s.toml").write_text(
        STUDY.format(model="feasible_own:nothing", size=8, trick="cosine")
    )
    done = ablate(folder, command, "s.toml", "--store", "store")
    assert done.returncode == 2
    calls, *problems = [line for line in done.stderr.splitlines() if "feasible_own" in line]
    assert calls == f"calls {folder / 'feasible_own.py'} (model feasible_own:nothing)"
    assert len(problems) == 1
    assert problems[0].startswith("s.toml:9: model 'feasible_own:nothing' returned NoneType")
    assert not list((folder / "store").rglob("done.json"))


def test_a_vision_transformer_at_another_size(folder: Path) -> None:
    (folder / "s.toml").write_text(STUDY.format(model="vit_b_32", size=32, trick="cosine"))
    done = ablate(folder, "plan", "s.toml", "--json")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "model 'vit_b_32' cannot take images of 32 pixels" in done.stdout + done.stderr
    assert json.dumps("image_size = 224, the model's own")[1:-1] in done.stdout + done.stderr


def trial(model: str, size: int, **settings: object) -> Trial:
    exact = Numerics.named("exact", "cuda")
    return support.trial(model=model, image_size=size, **settings).model_copy(
        update={"numerics": exact}
    )


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        ("vgg11", 16, r"'vgg11' cannot take images of 16 pixels: RuntimeError: .*too small"),
        ("inception_v3", 160, "inception_v3 cannot train on 160 pixels"),
        ("feasible_own:three", 8, r"returned \[2, 3\] for 2 images, not \[2, 10\]"),
        ("feasible_own:pair", 8, "Pair returned tuple, not logits"),
        ("feasible_own:counting", 16, "cannot take images of 16 pixels: RuntimeError: .*mat1 and"),
        ("feasible_own:reflecting", 8, r"no deterministic gradient of ReflectionPad2d there"),
        ("timm/resnetblur18", 32, r"no deterministic gradient of ReflectionPad2d there"),
    ],
)
def test_what_cannot_be_fed(folder: Path, model: str, size: int, message: str) -> None:
    with pytest.raises(AblateError, match=message) as caught:
        check_fed(trial(model, size))
    assert "\n" not in caught.value.message


def test_one_image_a_batch() -> None:
    """Batch norm of one value a channel has no variance."""
    for settings in ({"batch_size": 1}, {"batch_size": 8, "micro_batches": 8}):
        with pytest.raises(AblateError, match="Expected more than 1 value per channel") as caught:
            check_fed(trial("resnet18", 32, **settings))
        assert "micro_batches" in (caught.value.hint or "")
    check_fed(trial("resnet18", 64, batch_size=1))


@pytest.mark.parametrize(
    ("model", "size"),
    [
        *(("vgg11", 32), ("alexnet", 64), ("vit_b_32", 224), ("squeezenet1_1", 32)),
        *(("resnet18", 32), ("resnet8", 8), ("feasible_own:counting", 8)),
        *(
            pytest.param(*named, marks=pytest.mark.long)
            for named in (
                *(("vgg11_bn", 224), ("googlenet", 160), ("swin_t", 32), ("inception_v3", 299)),
                *(("convnext_tiny", 32), ("densenet121", 32), ("efficientnet_b0", 32)),
                *(("regnet_y_400mf", 32), ("shufflenet_v2_x0_5", 32), ("mnasnet0_5", 32)),
                *(("mobilenet_v3_small", 32), ("wrn16_4", 8), ("maxvit_t", 224)),
            )
        ),
    ],
)
def test_every_family_trains_with_exact_numerics(folder: Path, model: str, size: int) -> None:
    """As far as the operators of its gradient tell, without a GPU."""
    check_fed(trial(model, size))


def test_the_operators_are_torchs() -> None:
    refused = str(torch.use_deterministic_algorithms.__doc__).split("operations will throw a")[1]
    for operator, layer in _NOT_DETERMINISTIC.items():
        assert hasattr(torch.ops.aten, operator)
        for word in layer.split(", "):
            assert word in refused


# Adaptive average pools

SHAPES = [(7, 7), (5, 5), (1, 1), (6, 6), (14, 14), (9, 4), (8, 3), (2, 2), (21, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [7, (6, 6), (4, 4), (None, 3), 1])
def test_deterministic_averages_are_torchs(shape: tuple[int, int], size: object) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    a, b = deterministic_average(x, size), F.adaptive_avg_pool2d(x, size)  # type: ignore[arg-type]
    torch.testing.assert_close(a, b)
    upstream = torch.randn(b.shape, generator=generator, dtype=torch.float64)
    (ours,) = torch.autograd.grad(a, x, upstream)
    (theirs,) = torch.autograd.grad(b, x, upstream)
    torch.testing.assert_close(ours, theirs)


def operators(x: Tensor) -> set[str]:
    from torch.profiler import profile

    with profile() as seen:
        adaptive_average(x, (7, 7)).sum().backward()
    return {event.key for event in seen.key_averages()}


def test_only_where_it_must_be() -> None:
    """On a CPU torch's own has a deterministic gradient, and its bits are kept."""
    x = torch.randn(1, 2, 14, 14, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        assert "aten::_adaptive_avg_pool2d_backward" in operators(x)
        meta = torch.empty(1, 2, 14, 14, device="meta", requires_grad=True)
        assert "AvgPool2DBackward0" in type(adaptive_average(meta, (7, 7)).grad_fn).__name__
    finally:
        torch.use_deterministic_algorithms(False)
    plain = adaptive_average(meta, (7, 7)).grad_fn
    assert "AdaptiveAvgPool2DBackward0" in type(plain).__name__


def test_models_get_it() -> None:
    for name in ("vgg11", "alexnet", "timm/vgg11"):
        with torch.device("meta"):
            model = build_model(name, 10)
        pools = [m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool2d)]
        assert all(type(pool) is AdaptiveAverage for pool in pools if pool.output_size != 1)
        assert bool(pools) or name.startswith("timm")
