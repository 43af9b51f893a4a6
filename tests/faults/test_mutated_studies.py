"""Whatever is wrong in a study file ends in one line with a place, never in a traceback.

Every valid file there is, mutated by hypothesis and given to the command line in this process.
"""

from __future__ import annotations

import json
import re
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ablate.planning.plan
import ablate.planning.preflight
from tests.helpers.in_process import REACHED, call, stop_before_training
from tests.helpers.stand_ins import REFERENCE, REPOSITORY, add_what_is_to_come

# The tests' studies stand for every key there is, the shipped ones extend each other.
FILES = {file.name: file.read_bytes() for file in sorted(REFERENCE.glob("*.toml"))} | {
    file.relative_to(REPOSITORY).as_posix(): file.read_bytes()
    for file in sorted((REPOSITORY / "studies").rglob("*.toml"))
}
PLACE = re.compile(r"[^\s:]+\.toml(:\d+)?: .+|--set .+|[\w/.-]+: .+")
PIECES = [
    *('""', "[]", "{}", "[[]]", "-1", "0", "1e999", "nan", "-inf", "9" * 400, "9" * 4400, "true"),
    *("1979-05-27", "'\\u0000'", '"\\u202e"', '"\\u0000"', '"' + "x" * 300 + '"', "[1, [2]]"),
    *('"@teacher"', '"warmup"', '["warmup"]', "{ a = 1 }", "model", "set.lr", "use", "bundle"),
    *("[study]", "[[ablation]]", "[tricks]", "[[override]]", "[trial.teacher]", "[protocol]"),
    *("extends", "kind", '"leave_one_out"', '"factorial"', "=", ".", ",", "[", "]", "{", "}", "'"),
    *('"../../x.toml"', '"nothing:here"', '"imagefolder:/nowhere"', "\n", "#", "\\", "é", "\x00"),
]


@st.composite
def mutated(draw: Any) -> tuple[bytes, str]:
    """A reference study with up to four places cut, doubled or replaced."""
    name = draw(st.sampled_from(sorted(FILES)))
    text = FILES[name].decode()
    for _ in range(draw(st.integers(1, 4))):
        words = [
            i for i, c in enumerate(text) if i == 0 or c in ' \n[]{}=",.' or text[i - 1] in ' "['
        ]
        start = draw(st.sampled_from(words or [0]))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 3, 8, 30, 200])))
        piece = draw(st.sampled_from(PIECES) | st.just("") | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    data = text.encode("utf-8", "replace")
    return data if draw(st.integers(0, 20)) else data + b"\xff", name


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
def rearranged(draw: Any) -> tuple[bytes, str]:
    """A reference study, valid TOML still, with up to three values replaced, renamed or removed."""
    name = draw(st.sampled_from(sorted(FILES)))
    study = tomli.loads(FILES[name].decode())
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
    return "\n".join(f"{json.dumps(k)} = {inline(v)}" for k, v in study.items()).encode(), name


def try_out(data: bytes, file: Path, further: bool, run: bool) -> str:
    """What became of it: "refused", or "planned" by `check`, which resolves it; further: by `plan`
    or `run` too, which also look at the store."""
    file.write_bytes(data)
    checked = call(["check", file.as_posix()], LIMIT)
    told = checked.out.splitlines()
    assert "Traceback" not in checked.out + checked.err
    assert checked.err == "", checked.err
    if checked.code == 2:
        *problems, total = told
        assert re.fullmatch(r"\d+ problems? in 1 of 1 file", total), told
        assert len(problems) == int(total.split()[0]), told
        for problem in problems:
            assert PLACE.fullmatch(problem), problem
            assert problem.isprintable(), problem
        return "refused"
    assert checked.code == 0
    if file.name.startswith("_") or not further:
        return "planned"
    ended = call(["run" if run else "plan", file.as_posix()], LIMIT)
    assert "Traceback" not in ended.err, ended.err
    assert "bug:" not in ended.err, ended.err
    if ended.code == 2:  # what only this machine says: missing data, a batch of too many images
        assert re.match(r"(error|[^\s:]+\.toml(:\d+)?): ", ended.err.splitlines()[-2]), ended.err
        assert ended.err.splitlines()[-1].startswith("  "), ended.err
    else:
        assert ended.code in ((0, REACHED) if run else (0,)), ended
    return "planned"


LIMIT = 10  # seconds of processor time


def run_all(folder: Path, count: int) -> dict[str, int]:
    counts = {"planned": 0, "refused": 0}
    for name, data in FILES.items():  # so that `extends` finds something
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    @settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @example((b"", "a.toml"))
    @example((TABLES, "a.toml"))
    @example((LISTS, "a.toml"))
    @example((INNER, "a.toml"))
    @example((LARGE, "a.toml"))
    @given(mutated() | rearranged())
    def attempt(case: tuple[bytes, str]) -> None:
        data, name = case
        file = Path(name).with_name(f"{'_' * Path(name).name.startswith('_')}mutated.toml")
        number = sum(counts.values())
        counts[try_out(data, file, further=number % 5 == 0, run=number % 10 == 0)] += 1

    attempt()
    return counts


TABLES = b"study = 1\nrecipe = 2\ntricks = 3\nablation = 4\noverride = 5\ntrial = 6\nprotocol = 7"
LISTS = b"study = []\nrecipe = []\ntricks = []\nablation = [1]\noverride = [1]\ntrial = []"
INNER = b"[study]\nstack = {}\ndatasets = {}\n[tricks]\na = { bundle = {} }\nb = { use = [] }"
LARGE = (
    b"[recipe]\nmodel = 'resnet18'\nlr = 1e308\nbatch_size = 1000\n"
    b"[study]\ndatasets=['digits']\nstack=['linear_scaling']"
)


@pytest.mark.timeout(1800)
def test_mutated_studies_never_give_a_traceback(
    tmp_path: Path, long: bool, monkeypatch: pytest.MonkeyPatch, proved: Any
) -> None:
    add_what_is_to_come(monkeypatch)
    stop_before_training(monkeypatch)
    # Building every model of a study takes seconds; its own tests are in tests/tricks.
    monkeypatch.setattr(ablate.planning.preflight, "check_effects", lambda resolved, **options: [])
    monkeypatch.setattr(ablate.planning.plan, "_changes", lambda *words, **options: {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path / "data"))
    wanted = 4_000 if long else 200
    counts = run_all(tmp_path, wanted)
    print(f"mutated studies: {counts}")
    assert sum(counts.values()) >= wanted
    assert counts["refused"] > wanted / 4
    assert counts["planned"] > wanted / 20
    shutil.rmtree(tmp_path / "ablate-results", ignore_errors=True)
    proved(
        "input",
        "a mutated study file",
        f"hypothesis, over {len(FILES)} valid files, `check`, each fifth then `plan` or `run`: "
        f"{counts['refused']:,} refused, {counts['planned']:,} planned",
        sum(counts.values()),
        f"0 tracebacks, 0 over {LIMIT} s",
    )
