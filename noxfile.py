"""What CI runs: plain `nox` runs all of it, `nox -s tests` one session, `nox -l` lists them.

The sessions share one environment below `.nox`, made when pyproject.toml changes: torch alone takes
5 GB and a minute to install. `contract` and `interpreters` have environments of their own.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tomllib
from pathlib import Path

import nox

nox.options.sessions = [
    *("lint", "types", "imports", "docs", "interpreters", "contract", "tests", "faults"),
]
# An interpreter that the machine lacks is a skipped session, also where CI is set.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

ROOT = Path(__file__).parent
BIN = "Scripts" if sys.platform == "win32" else "bin"
# One thread per process: two workers on two cores.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Linter and formatting: ruff, which `-- --fix` lets mend what it can."""
    if "--fix" in session.posargs:
        _run(session, "ruff", "check", "--fix")
        _run(session, "ruff", "format")
        return
    _run(session, "ruff", "check")
    _run(session, "ruff", "format", "--check", "--quiet")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types: mypy --strict on ablate, the bundled tricks, the example, and what users see of it."""
    _run(session, "mypy")
    _run(session, "mypy", "noxfile.py", "docs/generate.py", "tests/packaging/public_types.py")


@nox.session(venv_backend="none")
def imports(session: nox.Session) -> None:
    """Import contracts: which part may use which."""
    _run(session, "lint-imports", "--no-logo")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Docs: generated pages are current, links lead somewhere, hooks have a section and a test."""
    _run(
        session,
        *("python", "-m", "pytest", "-n", "2", "tests/docs", "-rs", *session.posargs),
        env=THREADS,
    )


@nox.session(python=["3.11", "3.12", "3.13", "3.14"], venv_backend="venv")
def interpreters(session: nox.Session) -> None:
    """Every supported Python: all that needs no torch imports, and the shipped studies are read."""
    if session.python == ".".join(platform.python_version_tuple()[:2]):
        session.skip(f"every other session runs on Python {session.python}")
    heavy = ("torch", "torchvision", "duckdb", "scipy")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    light = [r for r in project["dependencies"] if r.partition(">")[0] not in heavy]
    session.install("--quiet", "--only-binary", ":all:", *light)
    session.install("--quiet", "--no-deps", ".")
    studies = [str(path) for path in sorted((ROOT / "studies").rglob("*.toml"))]
    session.chdir(session.create_tmp())
    session.run("python", "-m", "compileall", "-q", str(ROOT / "ablate"), str(ROOT / "plugins"))
    session.run("ablate", "--help", silent=True)
    session.run("ablate", "tricks", silent=True)
    session.run("ablate", "check", *studies)


@nox.session(venv_backend="none")
def contract(session: nox.Session) -> None:
    """The built wheel and the example package in a fresh environment, used through the commands."""
    python = _shared(session) / "python"
    wheels, fresh = ROOT / ".nox" / "wheels", ROOT / ".nox" / "contract"
    for folder in (wheels, fresh):
        shutil.rmtree(folder, ignore_errors=True)
    session.run(
        *(str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(wheels), ".", "plugins/example"),
        external=True,
    )
    session.run(str(python), "-m", "venv", "--without-pip", str(fresh), external=True)
    python_there = str(fresh / BIN / "python")
    pip_there = (str(python), "-m", "pip", "--python", python_there)
    built = [str(path) for path in wheels.glob("*.whl")]
    session.run(
        *(*pip_there, "install", "--quiet", "--no-index", "--no-deps", *built), external=True
    )
    # The dependencies are those of the shared environment, its editable ablate is not: of two
    # distributions of one name the first on the path counts, and .pth files there are not read.
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    borrowed, own = (
        str(session.run(executable, "-c", asked, silent=True, external=True)).strip()
        for executable in (str(python), python_there)
    )
    Path(own, "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    session.run(*pip_there, "check", external=True)

    session.chdir(session.create_tmp())
    found = "import ablate, ablate_example; print(ablate.__file__, ablate_example.__file__)"
    places = str(session.run(python_there, "-P", "-c", found, silent=True, external=True)).split()
    if not all(place.startswith(own) for place in places):
        session.error(f"not the built wheels are used: {places}")
    for configuration, tests in (
        (ROOT / "pyproject.toml", ROOT / "tests" / "packaging" / "test_wheel_installed.py"),
        (ROOT / "plugins" / "example" / "pyproject.toml", ROOT / "plugins" / "example" / "tests"),
    ):
        session.run(
            *(python_there, "-P", "-m", "pytest", "-rs", "-p", "no:cacheprovider"),
            *("-c", str(configuration), str(tests)),
            env=THREADS,
            external=True,
        )


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Tests: pytest on two processes; `-- --long` for full counts, `-- PATH -k NAME` for some."""
    paths = [] if any(Path(arg).exists() for arg in session.posargs) else ["tests"]
    _run(
        session,
        *("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"),
        *("-rs", *paths, *session.posargs),
        *("--ignore=tests/docs", "--ignore=tests/faults"),
        env=THREADS,
    )


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """Faults, injected: kills, full disks, hostile files; `-- --long` for docs/reliability.md."""
    record = ROOT / ".nox" / "faults.jsonl"
    record.unlink(missing_ok=True)
    _run(
        session,
        *("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", "-rs", "tests/faults"),
        *("--record", str(record)),
        *session.posargs,
        env=THREADS,
    )
    if session.posargs == ["--long"]:  # all of them, in full
        _run(session, "python", "-m", "tests.helpers.fault_table", str(record))


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Benchmarks, not in plain nox: all parts in small; `-- --part NAME --data ROOT …` for real."""
    out = Path(session.create_tmp(), "bench")
    if not session.posargs:
        shutil.rmtree(out, ignore_errors=True)
    small = ["--tiny", "--device", "cpu", "--out", str(out)]
    _run(session, "python", "benchmarks/run.py", *(session.posargs or small), env=THREADS)


def _run(
    session: nox.Session, tool: str, *arguments: str, env: dict[str, str] | None = None
) -> None:
    session.run(str(_shared(session) / tool), *arguments, env=env, external=True)


def _shared(session: nox.Session) -> Path:
    """The shared environment's folder of programs, made if this pyproject.toml has none yet."""
    described = (ROOT / "pyproject.toml").read_bytes() + platform.python_version().encode()
    folder = ROOT / ".nox" / f"shared-{hashlib.sha256(described).hexdigest()[:12]}"
    complete = folder / "complete"
    if not complete.exists():
        for old in (ROOT / ".nox").glob("shared-*"):
            shutil.rmtree(old)
        session.log(f"installing the project and its tools in {folder.relative_to(ROOT)}")
        session.run(sys.executable, "-m", "venv", str(folder), external=True)
        session.run(
            *(str(folder / BIN / "python"), "-m", "pip", "install", "--quiet", "-e", ".[dev]"),
            external=True,
        )
        complete.touch()
    return folder / BIN
