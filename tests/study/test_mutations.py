"""Whatever is wrong in a study file ends in a `StudyError`, never in a traceback."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stand_ins import REFERENCE, catalogue

from ablate.design import resolve
from ablate.errors import AblateError, StudyError
from ablate.study import load_study

FILES = {file.stem: file.read_bytes() for file in sorted(REFERENCE.glob("*.toml"))}
PIECES = [
    *('""', "[]", "{}", "[[]]", "-1", "0", "1e999", "nan", "-inf", "9" * 400, "9" * 4400, "true"),
    *("1979-05-27", "'\\u0000'", '"\\u202e"', '"\\u0000"', '"' + "x" * 300 + '"', "[1, [2]]"),
    *('"@teacher"', '"warmup"', '["warmup"]', "{ a = 1 }", "model", "set.lr", "use", "bundle"),
    *("[study]", "[[ablation]]", "[tricks]", "[[override]]", "[trial.teacher]", "[protocol]"),
    *("extends", "kind", '"leave_one_out"', '"factorial"', "=", ".", ",", "[", "]", "{", "}", "'"),
    *('"../../x.toml"', '"nothing:here"', '"imagefolder:/nowhere"', "\n", "#", "\\", "é", "\x00"),
]


@st.composite
def mutated(draw: Any) -> bytes:
    """A reference study with up to four places cut, doubled or replaced."""
    text = FILES[draw(st.sampled_from(sorted(FILES)))].decode()
    for _ in range(draw(st.integers(1, 4))):
        words = [
            i for i, c in enumerate(text) if i == 0 or c in ' \n[]{}=",.' or text[i - 1] in ' "['
        ]
        start = draw(st.sampled_from(words or [0]))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 3, 8, 30, 200])))
        piece = draw(st.sampled_from(PIECES) | st.just("") | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    data = text.encode("utf-8", "replace")
    return data if draw(st.integers(0, 20)) else data + b"\xff"


ODD = [
    *(
        "",
        "warmup",
        "@teacher",
        "resnet18",
        "x" * 300,
        "\0",
        "\u202e",
        "../..",
        "a/b",
        "imagenette",
    ),
    *(0, 1, -1, 3, 10**6, 10**18, 10**300, 0.5, -0.0, 1e308, True, False),
    *([], {}, [[]], [{}], [[["warmup"]]], ["warmup", ["warmup"]], {"a": 1}, {"factor": [1]}),
    *({"bundle": ["warmup", "fp16"]}, {"use": "mixup"}, {"set": {"lr": 1}}, [1, "warmup", None]),
]
NAMES = ["model", "set", "use", "bundle", "drop", "kind", "over", "tricks", "warmup", "", "a.b"]


def inline(value: Any) -> str:
    """The value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(item) for item in value if item is not None) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


@st.composite
def rearranged(draw: Any) -> bytes:
    """A reference study, valid TOML still, with up to three values replaced, renamed or removed."""
    study = tomli.loads(FILES[draw(st.sampled_from(sorted(FILES)))].decode())
    for _ in range(draw(st.integers(1, 3))):
        place: Any = study
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and draw(st.integers(0, 3)):
                place = inner
                continue
            action = draw(st.sampled_from(["replace", "replace", "remove", "rename", "swap"]))
            if action == "replace":
                place[key] = deepcopy(draw(st.sampled_from(ODD)))
            elif action == "remove":
                del place[key]
            elif action == "rename" and isinstance(place, dict):
                place[draw(st.sampled_from(NAMES))] = place.pop(key)
            else:
                place[key] = deepcopy(place[draw(st.sampled_from(keys))])
            break
    return "\n".join(f"{json.dumps(k)} = {inline(v)}" for k, v in study.items()).encode()


def try_out(data: bytes, folder: Path) -> str:
    """What became of it: "planned", "refused" with every problem sound, or a traceback."""
    file = folder / "mutated.toml"
    file.write_bytes(data)
    try:
        study = load_study(file, catalogue=catalogue())
        resolve(study, data_root=folder, command="test", allow_missing_data=True)
    except AblateError as error:
        refusal = error
    else:
        return "planned"
    problems = refusal.problems if isinstance(refusal, StudyError) else [refusal]
    assert problems
    assert not any("\n" in str(problem) for problem in problems)
    return "refused"


def run(folder: Path, count: int) -> dict[str, int]:
    counts = {"planned": 0, "refused": 0}
    for name, data in FILES.items():
        (folder / f"{name}.toml").write_bytes(data)  # so that `extends` finds something

    @settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @example(b"")
    @example(
        b"study = 1\nrecipe = 2\ntricks = 3\nablation = 4\noverride = 5\ntrial = 6\nprotocol = 7"
    )
    @example(b"study = []\nrecipe = []\ntricks = []\nablation = [1]\noverride = [1]\ntrial = []")
    @example(b"[study]\nstack = {}\ndatasets = {}\n[tricks]\na = { bundle = {} }\nb = { use = [] }")
    @example(
        b"[recipe]\nmodel = 'resnet18'\nlr = 1e308\nbatch_size = 1000\n"
        b"[study]\ndatasets=['digits']\nstack=['linear_scaling']"
    )
    @given(mutated() | rearranged())
    def attempt(data: bytes) -> None:
        counts[try_out(data, folder)] += 1

    attempt()
    return counts


@pytest.mark.usefixtures("to_come")
def test_mutated_studies_never_give_a_traceback(tmp_path: Path) -> None:
    counts = run(tmp_path, 200)
    print(f"mutated studies: {counts}")
    assert sum(counts.values()) >= 200
    assert counts["refused"] > 50


@pytest.mark.long
@pytest.mark.usefixtures("to_come")
def test_mutated_studies_never_give_a_traceback_long(tmp_path: Path) -> None:
    counts = run(tmp_path, 20_000)
    print(f"mutated studies: {counts}")
    assert sum(counts.values()) >= 20_000
