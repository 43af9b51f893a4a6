"""Finding tricks: installed and loose ones, broken ones named, behaviour from the source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.core.trial import TrickSpec
from ablate.errors import AblateError
from ablate.tricks.construct import construct
from ablate.tricks.discovery import Catalogue, load_catalogue
from tests.helpers.packages import break_bytes, break_line, offering

GOOD = '''
"""A trick."""
from ablate import Trick, hookimpl

class MyTrick(Trick):
    """Does little."""
    share: float = 0.5

    @hookimpl
    def extra_metrics(self):
        return {"share": self.share}
'''


def loose(folder: Path, text: str, name: str = "my_trick.py") -> Catalogue:
    (folder / name).write_text(textwrap.dedent(text))
    return load_catalogue([f"./{name}"], base=folder)


def behaviour(folder: Path, text: str) -> str:
    return loose(folder, text).load("my_trick").behaviour


def package(folder: Path, name: str, code: str, entry: str = "{name}:MyTrick") -> None:
    """A distribution as pip leaves it behind: a module and its metadata."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    info = folder / f"{module}-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    point = entry.format(name=module)
    (info / "entry_points.txt").write_text(f"[ablate.tricks]\nmy_trick = {point}\n")


def test_a_loose_file_is_a_trick(tmp_path: Path) -> None:
    loaded = loose(tmp_path, GOOD).load("my_trick")
    assert (loaded.name, loaded.source, loaded.bundled) == (
        "my_trick",
        str(tmp_path / "my_trick.py"),
        False,
    )
    assert loaded.cls(share=0.1).model_dump() == {"share": 0.1}


def test_an_edit_in_the_same_second_that_keeps_the_size_is_what_trains(tmp_path: Path) -> None:
    """Python's cache of bytecode tells files apart by whole seconds and size."""
    found = []
    for value in ("0.5", "0.7"):
        text = f"from ablate import Trick\nclass MyTrick(Trick):\n    strength: float = {value}\n"
        (tmp_path / "my_trick.py").write_text(text)
        os.utime(tmp_path / "my_trick.py", (10**9, 10**9))
        loaded = load_catalogue(["./my_trick.py"], base=tmp_path).load("my_trick")
        found.append((loaded.cls.model_fields["strength"].default, loaded.behaviour))
    assert [value for value, _ in found] == [0.5, 0.7]
    assert found[0][1] != found[1][1]
    assert [path.name for path in tmp_path.iterdir()] == ["my_trick.py"]


def test_what_a_file_prints_when_imported_is_not_a_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose(tmp_path, f"print('hello')\n{GOOD}")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import foo_that_is_not_there",
            "does not import: no module named 'foo_that_is_not_there'",
        ),
        ("raise SystemExit(3)", "does not import: SystemExit: 3"),
        ("def broken(:", "does not import: SyntaxError"),
        ("x = 1", "defines no subclass of ablate.Trick"),
        (GOOD.replace("MyTrick", "Mixup"), "a trick named 'mixup' exists already"),
    ],
)
def test_a_loose_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AblateError, match=r"my_trick\.py") as caught:
        loose(tmp_path, text)
    assert message in caught.value.message


def test_no_trick_is_named_as_the_row_without_any(tmp_path: Path) -> None:
    with pytest.raises(AblateError, match="no trick can be named 'baseline'"):
        loose(tmp_path, GOOD.replace("MyTrick", "Baseline"))


@pytest.mark.parametrize("plugin", ["./a\0.py", "./loop.py"])
def test_what_is_no_path_is_named(tmp_path: Path, plugin: str) -> None:
    (tmp_path / "loop.py").symlink_to("loop.py")
    with pytest.raises(AblateError, match=r"is no path: |no such file"):
        load_catalogue([plugin], base=tmp_path)


def test_a_missing_file_and_a_missing_distribution_are_named(tmp_path: Path) -> None:
    with pytest.raises(AblateError, match=r"plugin \./no\.py: no such file"):
        load_catalogue(["./no.py"], base=tmp_path)
    with pytest.raises(AblateError, match="plugin 'ablate-mixers' is not installed") as caught:
        load_catalogue(["ablate-mixers"])
    assert caught.value.hint == "pip install ablate-mixers"


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(AblateError, match="unknown trick 'mixpu'; did you mean 'mixup'"):
        load_catalogue().load("mixpu")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import foo_that_is_not_there", "no module named 'foo_that_is_not_there'"),
        ("MyTrick = 7", "is not a subclass of ablate.Trick"),
        ("import sys; sys.exit(1)", "does not import"),
    ],
)
def test_a_broken_distribution_is_named_and_takes_nothing_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    package(tmp_path, "ablate-bad", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = load_catalogue()
    assert "my_trick" in catalogue.names
    assert catalogue.source("my_trick") == "ablate-bad 0.3"
    with pytest.raises(AblateError, match=r"trick 'my_trick' \(ablate-bad 0\.3\)") as caught:
        catalogue.load("my_trick")
    assert message in caught.value.message
    others = [item for item in catalogue.load_all() if not isinstance(item, AblateError)]
    assert {"mixup", "warmup"} <= {trick.name for trick in others}
    assert "my_trick" not in load_catalogue(bundled_only=True).names
    sys.modules.pop("ablate_bad", None)


def test_names_are_read_without_importing(tmp_path: Path) -> None:
    package(tmp_path, "ablate-loud", "raise RuntimeError('imported')")
    code = (
        "import sys; from ablate.tricks.discovery import load_catalogue;"
        "names = load_catalogue().names;"
        "assert 'my_trick' in names and 'mixup' in names;"
        "assert 'ablate_loud' not in sys.modules and 'ablate_tricks.mixup' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""}
    )


def test_a_comment_keeps_the_behaviour_and_a_changed_line_does_not(tmp_path: Path) -> None:
    original = behaviour(tmp_path, GOOD)
    assert original.startswith("sha256:")
    commented = GOOD.replace('return {"share"', '# a comment\n\n        return {"share"')
    documented = commented.replace("Does little.", "Does a little.").replace(
        '"""A trick."""', '"""Another\nsentence."""'
    )
    assert behaviour(tmp_path, commented) == original
    assert behaviour(tmp_path, documented) == original
    assert behaviour(tmp_path, GOOD.replace("self.share}", "self.share * 2}")) != original
    assert behaviour(tmp_path, GOOD.replace("0.5", "0.25")) != original
    text = GOOD.replace('{"share": self', '{f"a{1}": self')
    assert behaviour(tmp_path, text) != behaviour(tmp_path, text.replace("a{1}", "b{1}"))


def test_a_declared_version_is_the_behaviour(tmp_path: Path) -> None:
    text = GOOD.replace("share:", "version = 4\n    share:").replace(
        "from ablate", "from typing import ClassVar\nfrom ablate"
    )
    assert behaviour(tmp_path, text.replace("version =", "version: ClassVar[int] =")) == "v4"


def test_what_a_package_imports_of_its_own_is_behaviour_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pkg_of_tricks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text("FACTOR = 1\n")
    (folder / "my_trick.py").write_text(
        GOOD.replace("from ablate", "from pkg_of_tricks.helper import FACTOR\nfrom ablate")
    )
    (tmp_path / "bystander.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    from ablate.tricks.fingerprint import behaviour as of

    cls = __import__("pkg_of_tricks.my_trick").my_trick.MyTrick
    before = of(cls, folder / "my_trick.py")
    (folder / "helper.py").write_text("FACTOR = 1  # unchanged\n")
    assert of(cls, folder / "my_trick.py") == before
    (folder / "helper.py").write_text("FACTOR = 2\n")
    assert of(cls, folder / "my_trick.py") != before


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two distributions that offer `shared_trick`, each in a folder of the path."""
    names = ("ablate-one", "ablate-two")
    for name in names:
        module = name.replace("-", "_")
        offering(tmp_path / name, name, f"shared_trick = {module}:MyTrick", version=1)
        monkeypatch.syspath_prepend(str(tmp_path / name))
        monkeypatch.delitem(sys.modules, module, raising=False)
    return names


@pytest.mark.parametrize("first", [0, 1])
def test_a_name_of_two_distributions_is_refused_until_the_study_says_which(
    two: tuple[str, str], monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[first:2] + sys.path[:first] + sys.path[2:])
    with pytest.raises(AblateError, match="trick 'shared_trick' is offered by ") as caught:
        load_catalogue().load("shared_trick")
    assert {"ablate-one 1.0", "ablate-two 1.0"} <= set(re.findall(r"ablate-\w+ 1\.0", str(caught)))
    assert re.fullmatch(
        r'plugins = \["ablate-(\w+)"\] in \[study\], or pip uninstall ablate-(?!\1)\w+',
        caught.value.hint or "",
    )
    for plugin in (*two, two[1].replace("-", "_").upper()):
        loaded = load_catalogue([plugin]).load("shared_trick")
        assert loaded.source == f"{plugin.lower().replace('_', '-')} 1.0"
        assert loaded.cls.__module__ == plugin.lower().replace("-", "_")
    with pytest.raises(AblateError, match="is offered by"):
        load_catalogue(two).load("shared_trick")


def test_two_that_declare_one_version_are_two_behaviours(two: tuple[str, str]) -> None:
    found = {load_catalogue([name]).load("shared_trick").behaviour for name in two}
    assert found == {"v1 of ablate-one", "v1 of ablate-two"}


def test_a_trial_gets_the_trick_that_it_was_planned_with(two: tuple[str, str]) -> None:
    for name in two:
        loaded = load_catalogue([name]).load("shared_trick")
        spec = TrickSpec(
            name="shared_trick", label="mine", source=loaded.source, params={},
            behaviour=loaded.behaviour,
        )  # fmt: skip
        again = TrickSpec.model_validate_json(spec.model_dump_json())
        [made] = construct((again,))
        assert type(made).__module__ == name.replace("-", "_")


def test_two_that_import_one_module_cannot_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever was meant, Python would import the first on the path."""
    for name in ("ablate-one", "ablate-two"):
        offering(
            tmp_path / name, name, "shared_trick = tricks_of_two:MyTrick", module="tricks_of_two"
        )
        monkeypatch.syspath_prepend(str(tmp_path / name))
    for plugins in ((), ("ablate-one",)):
        with pytest.raises(AblateError, match="is offered by") as caught:
            load_catalogue(plugins).load("shared_trick")
        assert (caught.value.hint or "").startswith("pip uninstall ablate-")


def test_what_is_never_used_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = (
        "mixup = ablate_one:MyTrick",
        "twice = ablate_one:MyTrick",
        "twice = ablate_one:Another",
    )
    offering(tmp_path, "ablate-one", *entries)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = load_catalogue(["ablate-one"])
    assert catalogue.load("mixup").bundled
    shadowed, ambiguous = sorted(catalogue.clashes, key=lambda clash: clash.name)
    assert str(shadowed).startswith("'mixup' of ablate-one 1.0 is never used: ablate-study ")
    assert (ambiguous.name, ambiguous.used) == ("twice", "")
    assert ambiguous.others == (
        "ablate-one 1.0 (ablate_one:MyTrick)", "ablate-one 1.0 (ablate_one:Another)",
    )  # fmt: skip
    with pytest.raises(AblateError, match="'twice' is offered by") as caught:
        catalogue.load("twice")
    assert caught.value.hint == "pip uninstall ablate-one"
    assert not load_catalogue(bundled_only=True).clashes


def test_what_pip_left_behind_offers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering(tmp_path, "ablate-one", "shared_trick = ablate_one:MyTrick")
    left = tmp_path / "~blate_one-0.9.dist-info"
    shutil.copytree(tmp_path / "ablate_one-1.0.dist-info", left)
    (left / "entry_points.txt").write_text("[ablate.tricks]\nshared_trick = elsewhere:Other\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ablate_one", raising=False)
    assert load_catalogue().load("shared_trick").source == "ablate-one 1.0"


def test_a_loose_file_names_the_distribution_that_has_its_name(
    tmp_path: Path, two: tuple[str, str]
) -> None:
    with pytest.raises(AblateError, match=r"exists already, of ablate-\w+ 1\.0 and ablate-\w+ 1"):
        loose(tmp_path, GOOD.replace("MyTrick", "SharedTrick"))


def break_entry(info: Path) -> None:
    (info / "entry_points.txt").write_text("[ablate.tricks]\nmy_trick = no entry: at all\n")


def break_folder(info: Path) -> None:
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").mkdir()


def break_link(info: Path) -> None:
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").symlink_to("entry_points.txt")


def break_name(info: Path) -> None:
    (info / "METADATA").unlink()


def break_name_bytes(info: Path) -> None:
    (info / "METADATA").write_bytes(b"Name: ablate-b\xefd\n")


BROKEN = {
    break_bytes: "its metadata is not UTF-8",
    break_line: "'no entry' is no entry",
    break_entry: "is no entry",
    break_folder: "not a file that can be read",
    break_link: "Too many levels of symbolic links",
    break_name: "METADATA is missing or has no name",
    break_name_bytes: "its metadata is not UTF-8",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_package_that_cannot_be_read_is_named_and_takes_nothing_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Path], None]
) -> None:
    offering(tmp_path / "bad", "ablate-bad", "my_trick = ablate_bad:MyTrick")
    broken(tmp_path / "bad" / "ablate_bad-1.0.dist-info")
    offering(tmp_path, "ablate-good", "other_trick = ablate_good:MyTrick")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "bad"))
    with pytest.warns(
        UserWarning, match="the installed package ablate_bad cannot be read: "
    ) as said:
        catalogue = load_catalogue()
    assert BROKEN[broken] in str(said[0].message)
    assert "my_trick" not in catalogue.names
    assert {"mixup", "other_trick"} <= set(catalogue.names)
    assert catalogue.load("other_trick").source == "ablate-good 1.0"
    [package] = catalogue.unreadable
    assert (package.package, package.place) == (
        "ablate_bad", str(tmp_path / "bad" / "ablate_bad-1.0.dist-info"),
    )  # fmt: skip
    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(AblateError, match="package ablate_bad cannot be read"),
    ):
        load_catalogue(["ablate-bad"])
