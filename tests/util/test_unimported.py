"""Functions of one's own: where they are, and who may call them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ablate.errors import AblateError
from ablate.util import own_code
from ablate.util.unimported import look

FILES = {
    "looked/__init__.py": "raise SystemExit('imported')\n",
    "looked/plain.py": """\
        from math import sqrt as root
        import os.path, json as written
        first, *rest = 1, 2, 3
        annotated: int = 4
        if (walrus := first):
            in_if = 1
        else:
            in_else = 2
        try:
            in_try = 1
        except ValueError:
            in_except = 2
        for loop in rest:
            in_loop = 1
        match rest:
            case [captured, 3]:
                pass
        class Model:
            inner = 1
        def make(num_classes):
            local = 1
        async def later(): pass
        """,
    "looked/starred.py": "from looked.plain import *\n",
    "looked/asked.py": "def __getattr__(name): return 1\n",
    "looked/computed.py": "globals()['made'] = print\n",
    "looked/late.py": "def set_it():\n    global made\n    made = print\n",
    "looked/broken.py": "def broken(:\n",
    "looked/zeros.py": "x = 1\0\n",
    "looked/latin.py": "# -*- coding: latin-1 -*-\nx = 'é'\ndef named(): pass\n",
    "looked/large.py": "x = 1\n" * 170_000,
    "looked/below/inner.py": "def data(): pass\n",
    "widened/__init__.py": "__path__.append('elsewhere')\n",
    "spread/part.py": "def data(): pass\n",
}
THERE = (
    *("root", "os", "written", "first", "rest", "annotated", "walrus", "in_if", "in_else"),
    *("in_try", "in_except", "loop", "in_loop", "captured", "Model", "make", "later"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from textwrap import dedent

    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(dedent(text).encode("latin-1"))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", THERE)
def test_what_a_module_binds_is_found(folder: Path, name: str) -> None:
    assert look("model", f"looked.plain:{name}") == str(folder / "looked/plain.py")
    assert "looked" not in sys.modules


@pytest.mark.parametrize("name", ["local", "inner", "sqrt", "path", "num_classes", "mke"])
def test_what_it_does_not_bind_is_named(folder: Path, name: str) -> None:
    with pytest.raises(AblateError, match=f"looked.plain has no function '{name}'"):
        look("model", f"looked.plain:{name}")


@pytest.mark.parametrize("module", ["starred", "asked", "computed", "late", "latin"])
def test_what_cannot_be_told_is_not_refused(folder: Path, module: str) -> None:
    name = "named" if module == "latin" else "made"
    assert look("model", f"looked.{module}:{name}") == str(folder / f"looked/{module}.py")
    assert "looked" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:data", "nowhere does not import: no module named 'nowhere'"),
        ("nowhere.deep:data", "nowhere.deep does not import: no module named 'nowhere'"),
        ("looked.nowhere:data", "no module named 'looked.nowhere'"),
        ("looked.plain.deeper:data", "no module named 'looked.plain.deeper'"),
        ("looked.broken:data", "looked.broken does not import: SyntaxError"),
        ("looked.zeros:data", "looked.zeros does not import: SyntaxError: source code"),
    ],
)
def test_what_does_not_import_is_told_without_importing(folder: Path, name: str, said: str) -> None:
    with pytest.raises(AblateError, match=said) as caught:
        look("data set", name)
    assert caught.value.message.startswith(f"data set '{name}': ")
    assert (caught.value.hint is not None) == ("nowhere does" in said or "nowhere.deep" in said)
    assert "looked" not in sys.modules


def test_packages_of_other_kinds(folder: Path) -> None:
    """Without an `__init__`, and one that finds modules elsewhere; what is built in; large ones."""
    assert look("data set", "looked.below.inner:data") == str(folder / "looked/below/inner.py")
    assert look("data set", "spread.part:data") == str(folder / "spread/part.py")
    assert look("data set", "widened.elsewhere:data") == ""
    assert look("data set", "looked.large:y") == str(folder / "looked/large.py")
    assert look("data set", "torch:nothing_that_it_has") != ""
    assert "widened" not in sys.modules


def test_who_refuses_refuses_for_all_that_is_asked_inside() -> None:
    def refused() -> str:
        try:
            own_code.check_may_run("model", "mine:model")
        except AblateError as error:
            return error.message
        return ""

    plugins, calls = "model 'mine:model' is refused by --no-plugins", "which is not called here"
    assert refused() == ""
    with own_code.without_plugins():
        assert refused() == plugins
        with own_code.without_plugins(False), own_code.uncalled():
            assert refused() == plugins
    with own_code.uncalled():
        assert calls in refused()
        with own_code.without_plugins():
            assert refused() == plugins
        assert calls in refused()
    with pytest.raises(KeyError), own_code.without_plugins():
        raise KeyError
    assert refused() == ""
