"""The wheel that is published: what is in it, and that it declares what it imports."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser

import pytest

from tests.helpers.environment import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Distributions whose import name is another.
IMPORTED_AS = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "import-linter": "importlinter",
    "markdown-it-py": "markdown_it",
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; it is in the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [file] = folder.glob("*.whl")
    assert file.name == f"ablate_study-{PROJECT['version']}-py3-none-any.whl"
    return zipfile.ZipFile(file)


def tracked(*folders: str) -> set[str]:
    """Files that git knows below these folders."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: there is no list of files to compare with")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def test_it_has_both_packages_the_studies_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    expected = {
        name.removeprefix("plugins/") if name.startswith("plugins/") else name
        for name in tracked("ablate", "plugins/ablate_tricks")
    }
    expected |= {f"ablate/{name}" for name in tracked("studies")}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


@pytest.mark.parametrize(
    "name",
    [
        *("ablate/py.typed", "ablate_tricks/py.typed", "ablate/studies/quickstart.toml"),
        *("ablate/studies/group1.toml", "ablate/data/digits.npz", "ablate/testing.py"),
        *("ablate/studies/paper/table4.toml", "ablate/studies/paper/_recipe.toml"),
        "ablate/report/paper.toml",
        f"ablate_study-{PROJECT['version']}.dist-info/licenses/LICENSE",
        f"ablate_study-{PROJECT['version']}.dist-info/licenses/ablate/data/NOTICE-digits.txt",
    ],
)
def test_what_must_be_there(wheel: zipfile.ZipFile, name: str) -> None:
    assert wheel.getinfo(name).file_size > 0 or name.endswith("py.typed")


def test_it_is_small(wheel: zipfile.ZipFile) -> None:
    assert sum(info.compress_size for info in wheel.infolist()) < 2**20


def test_its_metadata(wheel: zipfile.ZipFile) -> None:
    folder = f"ablate_study-{PROJECT['version']}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Name"] == "ablate-study"
    assert metadata["Requires-Python"] == ">=3.11"
    required = {line.partition(";")[0].strip() for line in metadata.get_all("Requires-Dist") or ()}
    assert "torch>=2.8" in required
    entries = wheel.read(f"{folder}/entry_points.txt").decode()
    assert "ablate = ablate.cli.main:main" in entries
    assert "[ablate.tricks]" in entries


def test_every_bundled_trick_is_in_the_table_under_its_modules_name() -> None:
    table = PROJECT["entry-points"]["ablate.tricks"]
    modules = {file.stem for file in (ROOT / "plugins/ablate_tricks").glob("[!_]*.py")}
    assert set(table) == modules
    for name, target in table.items():
        assert target.partition(":")[0] == f"ablate_tricks.{name}"


def test_the_version_is_one() -> None:
    import ablate

    assert ablate.__version__ == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def imports(folder: str) -> set[str]:
    """Top-level names of other people's modules that the files below `folder` import."""
    files = list((ROOT / folder).rglob("*.py"))
    ours = [*files, *(ROOT / "benchmarks").rglob("*.py")]  # which tests run
    own = {"ablate", "ablate_tricks", "ablate_example", "tests"} | {file.stem for file in ours}
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    # pydantic_core is pydantic's own
    return names - own - set(sys.stdlib_module_names) - {"pydantic_core"}


def declared(requirements: list[str]) -> set[str]:
    names = [r.partition(">")[0].partition("[")[0].strip() for r in requirements]
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


def test_what_is_imported_is_required() -> None:
    extras = PROJECT["optional-dependencies"]
    required = declared(PROJECT["dependencies"])
    used = imports("ablate") | imports("plugins/ablate_tricks")
    optional = {"timm", "safetensors"}
    assert optional <= set(extras), "each is an extra of its name"
    assert used - optional <= required
    assert required <= used, "a requirement that nothing imports"
    assert imports("tests") <= required | declared(extras["test"])
