"""Schedule and optimizer over a whole training: refused where torch would refuse in step 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from ablate import AblateError
from ablate.core.recipe import Recipe
from ablate.design import resolve
from ablate.design.updates import Updates
from ablate.errors import StudyError
from ablate.study import load_study
from tests.helpers.installed import CATALOGUE

HEAD = """\
[study]
datasets = ["digits"]
seeds = 1
stack = {stack}
{study}
[recipe]
model = "resnet8"
epochs = {epochs}
batch_size = 64
lr = 0.001
image_size = 8
momentum = {momentum}
[tricks]
"""


def planned(folder: Path, stack: str, tricks: str = "", **settings: Any) -> Any:
    file = folder / "mine.toml"
    head = {"epochs": 2, "momentum": 0.9, "study": ""} | settings
    file.write_text(HEAD.format(stack=stack, **head) + tricks, encoding="utf-8")
    return resolve(load_study(file), data_root=None, command="")


def refusal(folder: Path, stack: str, tricks: str = "", **settings: Any) -> tuple[int, str, str]:
    with pytest.raises(StudyError) as caught:
        planned(folder, stack, tricks, **settings)
    [problem] = caught.value.problems
    return problem.line, problem.message, str(problem.hint)


def test_a_beta_that_one_cycle_drives_to_one_is_refused_with_its_line(tmp_path: Path) -> None:
    line, message, hint = refusal(tmp_path, '["adamw", "one_cycle"]', "adamw = { beta1 = 0.95 }\n")
    assert line == 4
    assert message == (
        "one_cycle.max_momentum 0.95 over recipe.momentum 0.9 multiplies momentum by 1.056, and "
        "adamw.beta1 0.95 times that is 1.003: it must stay below 1"
    )
    assert hint == "adamw.beta1 below 0.9474, or a smaller one_cycle.max_momentum"


@pytest.mark.parametrize(("beta1", "fits"), [(0.94, True), (0.95, False)])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_bound_is_where_a_training_fails(
    name: str, beta1: float, fits: bool, tmp_path: Path
) -> None:
    """The engine multiplies each group's own; a momentum of 1 and more it refuses."""
    from ablate.engine.loop import set_factors

    tricks = [(name, CATALOGUE.load(name).cls(beta1=beta1))]
    tricks.append(("one_cycle", CATALOGUE.load("one_cycle").cls()))
    updates = Updates(Recipe(model="resnet8", lr=0.001, epochs=2), tricks, 10)
    optimizer = updates.hooks.build_optimizer([{"params": [torch.ones(1)]}], updates.recipe)
    base = [dict(group) for group in optimizer.param_groups]
    schedule = updates.hooks.build_schedule(updates.recipe)
    if fits:
        set_factors(optimizer, base, schedule(0, 0, 20))
        updates.check()
    else:
        with pytest.raises(ValueError, match="not below 1"):
            set_factors(optimizer, base, schedule(0, 0, 20))
        with pytest.raises(AblateError, match="below 1"):
            updates.check()


@pytest.mark.parametrize("momentum", [0.9, 0.85, 0.5])
def test_one_cycle_alone_is_torchs_momentum_and_fits(momentum: float) -> None:
    """Where recipe and optimizer agree, the largest is `max_momentum` itself."""
    one_cycle = CATALOGUE.load("one_cycle").cls(max_momentum=0.99)
    updates = Updates(
        Recipe(model="resnet8", momentum=momentum, epochs=2), [("one_cycle", one_cycle)], 50
    )
    updates.check()
    assert list(updates.words()) == []
    sgd = torch.optim.SGD([torch.ones(1)], lr=0.1, momentum=momentum)
    cycle = OneCycleLR(sgd, 0.1, total_steps=100, base_momentum=0.85, max_momentum=0.99)
    theirs = [cycle.get_last_lr() and sgd.param_groups[0]["momentum"]]
    for _ in range(99):
        sgd.step()
        cycle.step()
        theirs.append(sgd.param_groups[0]["momentum"])
    ours = [momentum * each.momentum for each in updates.factors()]
    assert ours == pytest.approx(theirs)


def test_words_are_of_the_optimizers_own_momentum(tmp_path: Path) -> None:
    own = planned(tmp_path, '["adamw", "one_cycle"]', "adamw = { beta1 = 0.93 }\n")
    assert own.warnings == (
        "digits · + one_cycle: one_cycle moves adamw.beta1 0.93 between 0.8783 and 0.9817, in "
        "proportion to the recipe's momentum 0.9",
    )
    assert pytest.approx(0.8783, abs=1e-4) == 0.93 * 0.85 / 0.9
    none = planned(tmp_path, '["rmsprop", "one_cycle"]')
    assert none.warnings == (
        "digits · + one_cycle: one_cycle: rmsprop has no momentum, so only the learning rate moves",
    )


def test_rmsprops_own_momentum_counts(tmp_path: Path) -> None:
    _, message, _ = refusal(
        tmp_path, '["rmsprop", "one_cycle"]', "rmsprop = { momentum = 0.99 }\n", momentum=0.9
    )
    assert "rmsprop.momentum 0.99 times that is 1.045" in message


def test_a_teachers_updates_are_asked_too(tmp_path: Path) -> None:
    tricks = (
        'distill = { teacher = "@big" }\nadamw = { beta1 = 0.95 }\n'
        '[trial.big]\ntricks = ["adamw", "one_cycle"]\n'
    )
    _, message, _ = refusal(tmp_path, '["distill"]', tricks)
    assert "adamw.beta1 0.95" in message


PLUGIN = """\
import torch
from ablate import Factors, Trick, hookimpl

class Still(Trick):
    factor: float = 0.0
    @hookimpl
    def build_schedule(self):
        return lambda step, start, total: Factors(lr=self.factor if step else 0.0)

class Strict(Trick):
    @hookimpl
    def build_optimizer(self, groups, recipe):
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.0, nesterov=recipe.nesterov)

class Heavy(Trick):
    @hookimpl(wrapper=True)
    def param_groups(self):
        groups = yield
        return [{**group, "momentum": 0.96} for group in groups]
"""


@pytest.mark.parametrize(
    ("factor", "message"),
    [("0.0", "the learning rate is 0 in every step"), ("-1.0", "the learning rate is -0.001 in")],
)
def test_a_rate_that_trains_nothing_is_refused(factor: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "plug.py").write_text(PLUGIN)
    _, said, _ = refusal(
        tmp_path, '["still"]', f"still = {{ factor = {factor} }}\n", study='plugins = ["./plug.py"]'
    )
    assert message in said


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ('["strict"]', "Nesterov momentum requires a momentum"),
        ('["heavy", "one_cycle"]', "heavy's momentum 0.96 times that is 1.013"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_what_an_optimizer_of_ones_own_refuses(
    command: str, stack: str, message: str, tmp_path: Path
) -> None:
    from tests.helpers.cli_process import run_here

    (tmp_path / "plug.py").write_text(PLUGIN)
    planned(tmp_path, stack, study='plugins = ["./plug.py"]')
    done = run_here(command, "mine.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_training_too_short_for_its_schedule_says_so(tmp_path: Path) -> None:
    # 1,198 digits to train on: 18 batches of 64
    short = planned(
        tmp_path, '["warmup", "cosine"]', "warmup = { epochs = 0.05 }\n", epochs=1
    ).warnings
    assert short == (
        "digits · + warmup: warmup of 0.05 epochs is no batch at a smaller rate: an epoch has 18",
    )
    file = tmp_path / "mine.toml"
    file.write_text(file.read_text().replace("batch_size = 64", "batch_size = 1024"))
    one = resolve(load_study(file), data_root=None, command="").warnings
    assert (
        "digits · + cosine: cosine and warmup: the learning rate is the same in the only step"
        in one
    )


def test_milestones_that_fall_together_or_beyond_the_last_step(tmp_path: Path) -> None:
    planned(tmp_path, '["mixup"]', epochs=1)
    file = tmp_path / "mine.toml"
    schedule = "[recipe]\nschedule = { milestones = [0.5, 0.96, 0.97, 0.99] }\n"
    file.write_text(file.read_text().replace("[recipe]\n", schedule))
    [said] = resolve(load_study(file), data_root=None, command="").warnings
    rates = [
        sum(step / 18 >= milestone for milestone in (0.5, 0.96, 0.97, 0.99)) for step in range(18)
    ]
    assert sorted(set(rates)) == [0, 1]  # the last step begins at 17/18 = 0.94
    assert said == (
        "digits · baseline: schedule: the learning rate falls 1 time in the 18 steps, 4 "
        "milestones are too many"
    )
