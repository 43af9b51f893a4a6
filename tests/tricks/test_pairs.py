"""Every pair of installed tricks: trained together where it can stand, else refused at plan time.

Plain runs train a fixed sample of the pairs, `--long` all of them: three to five minutes in one
process.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from pathlib import Path

import pytest

from ablate.design import resolve
from ablate.errors import StudyError
from ablate.study import Study, load_study
from ablate.tricks.hooks import Hooks
from ablate.tricks.ordering import stack_problems
from tests.helpers.installed import CATALOGUE, NAMES, PARAMETERS, alone, lr_for, made, trained

Pair = tuple[str, str]

EVERY_PAIR: list[Pair] = list(itertools.combinations(NAMES, 2))
PAIRS = [(a, b) for a, b in EVERY_PAIR if not stack_problems([made(a), made(b)])]

# Compatible pairs whose losses are those of one alone, and why that is right.
EQUIVALENT: dict[Pair, str] = {}


def acting(name: str) -> set[str]:
    """The hooks that the trick acts in."""
    return {hook for hook, names in Hooks([made(name)]).acting.items() if names}


def sampled() -> set[Pair]:
    """For each trick, one partner that acts in a hook of its own and one that does not."""

    def place(pair: Pair) -> str:
        return hashlib.sha256("-".join(pair).encode()).hexdigest()

    hooks = {name: acting(name) for name in NAMES}
    chosen: set[Pair] = set()
    for name in NAMES:
        mine = sorted((pair for pair in PAIRS if name in pair), key=place)
        near = [pair for pair in mine if hooks[pair[0]] & hooks[pair[1]]]
        apart = [pair for pair in mine if pair not in near]
        chosen |= {*near[:1], *apart[:1]}
    return chosen


SAMPLE = sampled()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All pairs with `--long`; else the sample, and one skip that counts the others."""
    if "pair" not in metafunc.fixturenames:
        return
    everything = metafunc.config.getoption("--long")
    cases = [
        pytest.param(pair, id="-".join(pair)) for pair in PAIRS if everything or pair in SAMPLE
    ]
    if not everything:
        rest = len(PAIRS) - len(cases)
        reason = f"{rest} of {len(PAIRS)} pairs, left to --long: minutes in one process"
        skip = pytest.mark.skip(reason=reason)
        cases.append(pytest.param(("", ""), id=f"the-other-{rest}", marks=skip))
    metafunc.parametrize("pair", cases)


def test_every_compatible_pair_trains_and_its_losses_differ_from_each_alone(pair: Pair) -> None:
    lr = lr_for(*pair)
    both = trained([made(name) for name in pair], lr=lr)
    equal = [name for name in pair if both.losses == alone(name, lr).losses]
    assert bool(equal) == (pair in EQUIVALENT), f"its losses are those of {equal} alone"


def test_a_pair_in_which_one_does_nothing_would_be_seen() -> None:
    idle = made("label_smoothing", epsilon=0.0)
    assert trained([made("mixup"), idle]).losses == alone("mixup").losses


def test_the_sample_has_every_trick_and_is_small() -> None:
    assert {name for pair in SAMPLE for name in pair} == set(NAMES)
    assert len(SAMPLE) <= 2 * len(NAMES)
    assert EQUIVALENT.keys() <= set(PAIRS)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("cosine", "mixup"),
        ("cutmix", "mixup"),
        ("bce_loss", "label_smoothing"),
        ("color_jitter", "random_erasing"),
        ("resnet_c", "squeeze_excitation"),
        ("gradient_clipping", "sam"),
    ],
)
def test_the_order_given_is_not_the_order_of_work(a: str, b: str) -> None:
    assert trained([made(a), made(b)]).same(trained([made(b), made(a)]))


def study(folder: Path, pairs: list[Pair]) -> tuple[Study, dict[int, Pair]]:
    """A study with a table for each pair, and the line that each pair stands on."""
    lines = ["[study]", 'datasets = ["digits"]', "seeds = 1"]
    lines += ["[recipe]", 'model = "resnet8"', "image_size = 32", "epochs = 4", "batch_size = 8"]
    lines += ["[trial.big]", 'set.model = "resnet18"', "[tricks]"]
    for name, parameters in PARAMETERS.items():
        # JSON's strings and numbers are TOML's.
        inside = ", ".join(f"{key} = {json.dumps(value)}" for key, value in parameters.items())
        lines.append(f"{name} = {{ {inside} }}")
    places = {}
    for a, b in pairs:
        lines += ["[[ablation]]", f'name = "{a} {b}"', f'stack = ["{a}", "{b}"]']
        places[len(lines)] = (a, b)
    file = folder / "pairs.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_study(file, catalogue=CATALOGUE), places


def test_every_pair_resolves_or_is_refused_in_one_line_that_names_both(tmp_path: Path) -> None:
    others = [pair for pair in EVERY_PAIR if pair not in PAIRS]
    impossible, places = study(tmp_path, others)
    with pytest.raises(StudyError) as refusal:
        resolve(impossible, data_root=None, command="")
    refused: dict[Pair, str] = {}
    for problem in refusal.value.problems:
        pair = places[problem.line]
        assert pair not in refused, f"{pair} is refused twice"
        refused[pair] = problem.message
        assert "\n" not in str(problem)
        assert set(pair) <= set(re.findall(r"\w+", problem.message)), problem.message
        assert problem.hint is not None
    assert refused.keys() == set(others)

    resolved = resolve(study(tmp_path, PAIRS)[0], data_root=None, command="")
    assert {tuple(table.ablation.split()) for table in resolved.tables} == set(PAIRS)
    for table in resolved.tables:
        assert [set(row.tricks) for row in table.rows][-1] == set(table.ablation.split())
        assert len({row.keys for row in table.rows}) == len(table.rows), table.ablation


def test_only_those_that_replace_the_same_thing_exclude_each_other() -> None:
    """And so a pair that is refused for another reason, or no longer refused, is seen."""
    refused = set(EVERY_PAIR) - set(PAIRS)
    groups: dict[str, set[str]] = {}  # what two tricks of one row would both replace or claim
    for name in NAMES:
        for hook, names in Hooks([made(name)]).acting.items():
            if f"{name} *" in names:
                groups.setdefault(hook, set()).add(name)
        for tag in made(name).exclusive:
            groups.setdefault(tag, set()).add(name)
    expected = {pair for group in groups.values() for pair in itertools.combinations(group, 2)}
    assert {tuple(sorted(pair)) for pair in expected} == refused
    assert ("bf16", "fp16") in refused
