"""Pages are current, links lead somewhere, what they say of settings and their examples is true."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args

import pytest
import tomli

from ablate.cli.help import TEXTS
from ablate.cli.lazy import COMMANDS, register
from ablate.core.recipe import Recipe
from ablate.core.resolved_study import Kind
from ablate.core.rng import Draws
from ablate.design.planner import REFERENCES
from ablate.study.ablations import _KEYS as ABLATION_KEYS
from ablate.study.loader import ProtocolSection, StudySection, load_study
from ablate.testing import train_tiny
from ablate.tricks.discovery import load_catalogue
from ablate_tricks.label_smoothing import LabelSmoothing
from tests.helpers import forked
from tests.helpers.environment import ROOT
from tests.helpers.fault_table import FIGURES, GROUPS, PAGE, put, rendered
from tests.helpers.turns import todays

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"),
                ROOT / "plugins/example/README.md"])  # fmt: skip
VENV = "python3 -m venv .venv && . .venv/bin/activate"
STUDIES = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


def ids(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_toml_parses_for_tomli_and_the_standard_library(page: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        assert tomli.loads(block) == tomllib.loads(block)


def studies_in(page: Path) -> list[str]:
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "[study]" in block and "[recipe]" in block]


@pytest.mark.parametrize("page", [p for p in PAGES if studies_in(p)], ids=lambda p: p.name)
def test_whole_studies_are_sound(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(studies_in(page)):
        if "label_noise" in block:
            continue  # the example package's own tests run it
        file = tmp_path / f"study{number}.toml"
        file.write_text(block, encoding="utf-8")
        if "./my_trick.py" in block:
            (tmp_path / "my_trick.py").write_text(python_in(page)[0], encoding="utf-8")
        load_study(file)


@pytest.mark.parametrize("heading", ["[tricks]", "[[ablation]]", "[[override]]"])
def test_parts_of_studies_are_sound(heading: str, tmp_path: Path) -> None:
    """The sections' examples put together, after a study's first lines."""
    first = studies_in(ROOT / "docs" / "studies.md")[0].partition("[tricks]")[0]
    wanted = {"[tricks]", "[[override]]"} if heading == "[[override]]" else {heading}
    parts = [section_toml(name) for name in ("[tricks]", "[[ablation]]", "[[override]]")
             if name in wanted]  # fmt: skip
    file = tmp_path / "study.toml"
    file.write_text("\n".join([first, *parts]), encoding="utf-8")
    load_study(file)


def section_toml(heading: str) -> str:
    section = STUDIES.partition(f"\n## {heading}\n")[2]
    return section.partition("```toml\n")[2].partition("```")[0]


def documented(heading: str) -> dict[str, str]:
    """Key → default of the section's first table."""
    section = STUDIES.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = section.partition("| :-- |")[2].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[1:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for key in re.findall(r"`(\w+)`", cells[0]):
            found[key] = cells[1]
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    sections = {
        "[study]": set(StudySection.model_fields),
        "[recipe]": set(Recipe.model_fields),
        "[protocol]": set(ProtocolSection.model_fields),
        "[[ablation]]": set(ABLATION_KEYS),
    }
    for heading, keys in sections.items():
        assert set(documented(heading)) == keys, heading
    for key, field in Recipe.model_fields.items():
        if isinstance(field.default, bool | int | float):
            written = tomllib.loads(f"x = {documented('[recipe]')[key]}")["x"]
            assert written == field.default, key
    schedule, crop = Recipe(model="x").schedule, Recipe(model="x", crop={}).crop
    for key, value in (("schedule", schedule), ("crop", crop)):
        [inline] = re.findall(rf"^\| `{key}` .*?`(\{{.*?\}})`", STUDIES, re.MULTILINE)
        assert type(value).model_validate(tomllib.loads(f"x = {inline}")["x"]) == value


def test_every_kind_of_ablation_is_documented_and_what_is_planned_is_refused() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|[^|]*\|$", STUDIES, re.MULTILINE))
    kinds = {kind: rows[kind] for kind in get_args(Kind)}
    assert {kind for kind, text in kinds.items() if "Planned" not in text} == set(REFERENCES)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        return importlib.import_module("generate")


def test_generated_pages_are_current(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    """In the bounded form an eighth of the models, another every day: each is built many times."""
    if long:
        command = [sys.executable, ROOT / "docs" / "generate.py", "--check"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    monkeypatch.setattr(generate, "subprocess", SimpleNamespace(run=forked.run))
    monkeypatch.setattr("ablate.cli.help.TEXTS", _texts_of_commands())
    for name, make in generate.PAGES.items():
        found = (ROOT / "docs" / name).read_text(encoding="utf-8")
        if name != "models.md":
            assert make() == found, "python docs/generate.py"
            continue
        names = [*_models_in(monkeypatch)]
        rows, others = _rows_of_models(found)
        made, made_others = _rows_of_models(make())
        assert made_others == others
        assert [row for row in rows if row in made] == made
        assert [row.split("`")[1] for row in rows] == names


def _texts_of_commands() -> dict[str, str]:
    """Help texts in the order of a process that has registered no command before."""
    register()
    places = {name: place for place, name in enumerate(("", *COMMANDS))}
    return dict(sorted(TEXTS.items(), key=lambda text: places[text[0].partition(" ")[0]]))


def _models_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The models of the page in its order; from now on it is made of today's alone, and here."""
    page = importlib.import_module("models_page")
    names = page.model_names()
    resnets = [n for n in names if page.model_info(n).family == "ResNet"]
    yield from (n for n in resnets if not n.endswith("_small"))
    yield from (*page.OTHERS, "resnet50_v1", *page.SURGERY)
    monkeypatch.setattr(page, "model_names", lambda: todays(names, 8))
    monkeypatch.setattr(page, "OTHERS", todays(page.OTHERS, 8))
    monkeypatch.setattr(page, "SURGERY", todays(page.SURGERY, 8))
    here = contextlib.nullcontext(SimpleNamespace(map=map))
    monkeypatch.setattr(page, "ProcessPoolExecutor", lambda *_, **__: here)


def _rows_of_models(text: str) -> tuple[list[str], list[str]]:
    """(rows that begin with a model, all other lines) of the page."""
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    return rows, [line for line in lines if not line.startswith("| `")]


def python_in(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_trick_and_its_tests_work(tmp_path: Path) -> None:
    trick, *others = python_in(ROOT / "docs" / "writing-a-trick.md")
    (tests,) = (block for block in others if "def test_" in block)
    code = [line for line in trick.splitlines() if line.strip()]
    assert len(code) - 3 <= 15, "fifteen lines, the docstring's apart"
    (tmp_path / "my_trick.py").write_text(trick, encoding="utf-8")
    (tmp_path / "test_my_trick.py").write_text(tests, encoding="utf-8")
    done = forked.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_example_of_one_hook_alone_runs(tmp_path: Path) -> None:
    trick, *others = python_in(ROOT / "docs" / "writing-a-trick.md")
    [example] = [block for block in others if "Hooks([" in block]
    (tmp_path / "my_trick.py").write_text(trick, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_methods_of_a_stream_are_documented() -> None:
    page = (ROOT / "docs" / "writing-a-trick.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)\(.*\)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(name for name in vars(Draws) if not name.startswith("_"))


def test_the_readmes_trick_is_label_smoothing(tmp_path: Path) -> None:
    [code] = [block for block in python_in(ROOT / "README.md") if "Trick" in block]
    (tmp_path / "my_trick.py").write_text(code, encoding="utf-8")
    trick = load_catalogue(["my_trick.py"], base=tmp_path).load("smooth").cls
    assert train_tiny([trick()]).metrics == train_tiny([LabelSmoothing()]).metrics


def test_what_the_facts_name_exists() -> None:
    facts = tomllib.loads((ROOT / "docs" / "tricks.toml").read_text(encoding="utf-8"))
    for name, fact in facts.items():
        for file in fact["tests"]:
            assert name in (ROOT / file).read_text(encoding="utf-8"), (name, file)


@pytest.mark.parametrize("line", [
    f"{VENV} && pip install . && ablate run studies/quickstart.toml",
    "uv run ablate run studies/quickstart.toml",
    f"{VENV} && pip install nox && nox",
    "uvx nox",
])  # fmt: skip
def test_the_readme_has_the_commands(line: str) -> None:
    assert f"\n    {line}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readmes_line() -> None:
    line = f"{VENV} && pip install nox && nox"
    script = ROOT / ".ci" / "run"
    assert line in script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_the_faults_are_those_that_the_suite_recorded() -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert put(page, rendered(figures)) == page
    assert {row["group"] for row in figures["rows"]} == set(GROUPS)
    assert all((ROOT / row["test"].partition("::")[0]).exists() for row in figures["rows"])
