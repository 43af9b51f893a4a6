"""The studies that ship, the one that `ablate init` writes, and the schema for editors."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from ablate.errors import StudyError
from ablate.study import init_text, load_study, shipped_studies
from ablate.study.json_schema import study_schema
from ablate.tricks.discovery import load_catalogue
from tests.helpers.stand_ins import REFERENCE, REPOSITORY

SHIPPED = sorted((REPOSITORY / "studies").rglob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_studies_load_and_parse_with_the_standard_library(file: Any) -> None:
    tomllib.loads(file.read_text())
    study = load_study(file)
    assert study.name == file.relative_to(REPOSITORY / "studies").with_suffix("").as_posix()


@pytest.mark.parametrize("name", ["group1", "group2", "bag_of_tricks"])
def test_shipped_studies_are_the_reference(name: str) -> None:
    ours, reference = load_study(name), load_study(REFERENCE / f"{name}.toml")
    for part in ("datasets", "seeds", "recipe", "ablations", "tricks", "rules", "margin"):
        assert getattr(ours, part) == getattr(reference, part), part


def test_what_init_writes_is_a_study(tmp_path: Any) -> None:
    file = tmp_path / "my.toml"
    file.write_text(init_text())
    assert len(init_text().splitlines()) == 13
    study = load_study(file)
    assert (study.datasets, study.seeds) == (("digits",), (0, 1, 2))
    assert [item.labels for item in study.ablations[0].stack] == [("warmup",), ("mixup",)]


def test_study_and_design_start_without_torch() -> None:
    code = (
        "import sys; from ablate.study import load_study; from ablate.design import resolve;"
        "resolve(load_study('quickstart'), data_root=None, command='');"
        "print([m for m in ('torch', 'torchvision', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_schema_has_every_trick_with_its_parameters() -> None:
    catalogue = load_catalogue()
    schema = study_schema(catalogue)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name in catalogue.names:
        fields = set(catalogue.load(name).cls.model_fields)
        assert set(schema["$defs"][f"trick.{name}"]["properties"]) == fields | {"set"}
    alpha = schema["$defs"]["trick.mixup"]["properties"]["alpha"]
    assert (alpha["exclusiveMinimum"], alpha["default"]) == (0, 0.2)
    assert schema["$defs"]["settings"]["properties"]["epochs"]["type"] == "integer"
    assert "required" not in schema["$defs"]["settings"]  # a part of a recipe is enough
    references = [
        r for r in _references(schema) if r.removeprefix("#/$defs/") not in schema["$defs"]
    ]
    assert references == []


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for item in value.values() for ref in _references(item)]
    return [ref for item in value for ref in _references(item)] if isinstance(value, list) else []


WRONG = [
    "[recipe]\nepochs = '20'",
    "[recipe]\nbatchsize = 3",
    "[tricks]\nmixup = { alpha = -1 }",
    "[tricks]\nx = { use = 'mixup', alfa = 1 }",
    "[study]\ndatasets = ['digits']\nstack = []",
    "[[ablation]]\nkind = 'x'",
    "[[override]]\nset.lr = 1",
    "[protocol]\nmargin = 0",
]


def test_schema_agrees_with_check(tmp_path: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = study_schema(load_catalogue())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for file in SHIPPED:
        assert list(validator.iter_errors(tomllib.loads(file.read_text()))) == []
    for text in WRONG:
        assert list(validator.iter_errors(tomllib.loads(text))), text
        file = tmp_path / "wrong.toml"
        file.write_text(text)
        with pytest.raises(StudyError):
            load_study(file)


def test_docs_list_every_shipped_study_with_its_trainings() -> None:
    from ablate.design import resolve

    page = (REPOSITORY / "docs" / "studies.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w/]+)` \| .* \| (\d+) \|$", page, re.MULTILINE))
    planned = {
        name: resolve(
            load_study(name), data_root=REPOSITORY / "none", command="", allow_missing_data=True
        )
        for name in shipped_studies()
    }
    assert listed == {name: str(len(resolved.trials)) for name, resolved in planned.items()}
