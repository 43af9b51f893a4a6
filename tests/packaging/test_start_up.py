"""What planning, storing and reporting import: no torch, no scipy, and not much else.

Import contracts see imports in functions too, so that what may be imported later is held here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

SLOW = ("torch", "torchvision", "scipy", "timm", "sklearn", "statsmodels")
LIGHT = [
    *(
        "ablate",
        "ablate.errors",
        "ablate.core.recipe",
        "ablate.core.trial",
        "ablate.core.resolved_study",
    ),
    *(
        "ablate.core.rng",
        "ablate.core.hook_types",
        "ablate.hookspecs",
        "ablate.tricks",
        "ablate.study.json_schema",
    ),
    *("ablate.study", "ablate.design", "ablate.data.catalogue", "ablate.models.catalogue"),
    *(
        "ablate.util.files",
        "ablate.store.attempt_reader",
        "ablate.store.lease",
        "ablate.index",
        "ablate.store",
    ),
    *("ablate.sql", "ablate.sql.effects"),
    *("ablate.stats", "ablate.report", "ablate.execution.runner", "ablate.execution.executor"),
    *("ablate.console", "ablate.cli", "ablate.execution.trainer", "ablate_tricks"),
]

IMPORT_ALL = """
import importlib, json, pkgutil, sys
module = importlib.import_module(sys.argv[1])
if hasattr(module, "__path__") and sys.argv[1] != "ablate":
    for found in pkgutil.walk_packages(module.__path__, module.__name__ + "."):
        importlib.import_module(found.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@cache
def imported(module: str) -> frozenset[str]:
    """Top-level names in `sys.modules` after importing `module` and all below it, afresh."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, module], capture_output=True, text=True, check=True
    )
    return frozenset(json.loads(done.stdout))


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_imports_nothing_slow(module: str) -> None:
    assert not imported(module) & set(SLOW)


def test_the_engine_imports_no_trick() -> None:
    assert "ablate_tricks" not in imported("ablate.engine")
    assert "torch" in imported("ablate.engine"), "else this test sees nothing"


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], (*SLOW, "numpy", "pydantic", "duckdb", "PIL")),
        (["--version"], (*SLOW, "numpy", "pydantic", "duckdb", "PIL")),
        (["run", "--help"], SLOW),
    ],
)
def test_help_does_not_import_what_a_command_needs(
    arguments: list[str], unwanted: tuple[str, ...]
) -> None:
    code = (
        "import sys; from ablate.cli.main import main; main(sys.argv[1:]); "
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split("MODULES ")[1].split())
    assert not modules & set(unwanted)
