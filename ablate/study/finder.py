"""Studies by name: a path, one of those that ship with ablate, or the one that `init` writes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ablate.errors import Problem, StudyError
from ablate.study.document import printable

_TEXT = """\
[study]
datasets = ["digits"]             # ablate datasets lists them; digits needs no download
seeds    = 3                      # 3 sees big effects only; ablate plan says how big
stack    = ["warmup", "mixup"]    # rows of the table, in this order; ablate tricks lists them

[recipe]                          # the baseline: what every row shares
model      = "resnet18_small"
epochs     = 20
batch_size = 64
lr         = 0.025

[tricks]                          # parameters; what is left out has the trick's default
mixup = { alpha = 0.2 }           # ablate tricks show mixup
"""


def init_text() -> str:
    """A small study with comments, ready to be trained and edited."""
    return _TEXT


def shipped_folder() -> Path:
    """Where the shipped studies are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "studies"
    # beside an installed package is everyone's folder: only a checkout's is ours
    return installed if installed.is_dir() else package.parent / "studies"


def is_part(file: Path) -> bool:
    """Whether the file, `_NAME.toml`, is there for others to extend and has no rows of its own."""
    return file.stem.startswith("_")


def shipped_studies() -> tuple[str, ...]:
    """Names that `find_study` knows wherever it is called: "group1", "paper/table4".

    Parts that studies extend are found too, and not listed.
    """
    folder = shipped_folder()
    files = [file for file in folder.rglob("*.toml") if not is_part(file)]
    return tuple(sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files))


def find_study(name: str | Path) -> Path:
    """The file of `name`: a path, a path without ".toml", or a shipped study.

    `studies/group1.toml` is found without a checkout too. Raises `StudyError`.
    """
    text = str(name)
    if "\0" in text or not text:
        empty = "ablate init my.toml writes one"
        raise StudyError([Problem(printable(text) or "''", 0, "", "no such study file", empty)])
    candidates = [Path(text), Path(f"{text}.toml")]
    inner = PurePosixPath(text.removesuffix(".toml"))
    if inner.parts[:1] == ("studies",):
        inner = PurePosixPath(*inner.parts[1:])
    if inner.parts and not inner.is_absolute() and ".." not in inner.parts:
        candidates.append(shipped_folder() / f"{inner}.toml")
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # a name too long to be one
            continue
    if candidates[0].exists():
        return candidates[0]  # a folder or device, which reading it explains
    from difflib import get_close_matches

    shipped = shipped_studies()
    close = get_close_matches(str(inner), shipped, n=1, cutoff=0.6)
    guess = f"; did you mean '{close[0]}'?" if close else ""
    hint = f"shipped with ablate: {', '.join(shipped)}" if shipped else None
    raise StudyError([Problem(printable(text, 200), 0, "", f"no such study file{guess}", hint)])


def study_name(path: Path) -> str:
    """The path below the nearest folder `studies`, without ".toml"; elsewhere the stem."""
    for parent in path.resolve().parents:
        if parent.name == "studies":
            return path.resolve().relative_to(parent).with_suffix("").as_posix()
    return path.stem
