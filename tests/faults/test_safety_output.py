"""Texts that mean harm where they are shown: in names, messages and machines of a store that
somebody else made, through every format and command."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import html5lib
import markdown_it
import pytest

from ablate.cli.main import main
from ablate.core.resolved_study import ResolvedStudy
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.small_stores import MACHINE, make_study, make_trial, new_store, train

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><svg onload=alert(1)>",
    "[here](javascript:alert(1)) ![x](http://evil.org/x.png)",
    "a | b\n| --- | --- |\n# head",
    "`code` <!-- ${x} -->",
    "\\input{/etc/passwd} \\write18{rm} $x^2$ 50% & #1 ~ {",
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil.org\x1b\\link",
    "[bold red]markup[/] [link=http://evil.org]",
    "right\u202eleft\u2066\u200b\x00\x08\r",
    "/home/alice/.ssh/id_rsa",
)
ALL = " ".join(HOSTILE)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A study whose every free text is hostile, with a trial that failed and one that diverged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_STORE", "store")
    store = new_store(Path("store"))
    machine = MACHINE | {"host": ALL, "device_name": ALL, "torch": ALL, "platform": ALL}
    values = {"baseline": [0.5, 0.5], "warmup": [0.6, 0.6], "mixup": [None, None]}
    made = make_study(store, values, machine=machine)
    for key, status in zip(made.order[-2:], ("failed", "diverged"), strict=True):
        store.register(made.trials[key], ALL)
        with Attempt.begin(store.path, key) as attempt:
            attempt.log(ALL)
            attempt.save_environment(machine)
            attempt.finish(status, ALL)
    for path in Path("store/trials").glob("*/trial.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"label": ALL}))
    (saved,) = Path("store/studies/group").glob("*.json")
    saved.write_text(hostile(made).model_dump_json())
    return store


def hostile(made: ResolvedStudy) -> ResolvedStudy:
    tables = [
        table.model_copy(
            update={
                "dataset": ALL,
                "column": ALL,
                "ablation": ALL,
                "rows": tuple(
                    row.model_copy(update={"label": f"{i} {ALL}", "changes": ALL})
                    for i, row in enumerate(table.rows)
                ),
            }
        )
        for table in made.tables
    ]
    return made.model_copy(
        update={
            "tables": tuple(tables), "headline": ALL, "file": ALL, "command": ALL,
            "toml": {ALL: ALL}, "warnings": (ALL,), "labels": dict.fromkeys(made.labels, ALL),
        }
    )  # fmt: skip


# What our own pages have; none of it can hold what others wrote.
BAD_ELEMENTS = {"script", "img", "iframe", "object", "embed", "base", "form", "h1x"}


def elements(text: str) -> Iterator[Any]:
    page = html5lib.parse(text, treebuilder="etree", namespaceHTMLElements=False)
    return iter(page.iter())


def harmless_html(text: str) -> None:
    for element in elements(text):
        name = element.tag if isinstance(element.tag, str) else ""
        assert name.rpartition("}")[2] not in BAD_ELEMENTS, name
        for attribute, value in element.attrib.items():
            assert not attribute.lower().startswith("on"), (name, attribute)
            if attribute in ("href", "src", "xlink:href"):
                assert not re.match(r"\s*(javascript|https?://evil)", value, re.IGNORECASE), value


def harmless_on_a_terminal(text: str) -> None:
    found = {c for c in text if (ord(c) < 32 and c != "\n") or c in "\x7f\u202e\u2066\u200b"}
    assert not found, found


def unescaped_latex(text: str) -> list[str]:
    """Commands that no table of ours has."""
    text = re.sub(r"(?m)(?<!\\)%.*$", "", text)  # comments, which end with their line
    return re.findall(r"(?<!\\)\\(?:input|write|include|immediate|openin|catcode|def)\b", text)


def test_every_format_and_command_escapes(
    store: Store, capfd: pytest.CaptureFixture[str], proved: Proved
) -> None:
    def run(*arguments: str) -> str:
        capfd.readouterr()
        code = main([*arguments])
        out, err = capfd.readouterr()
        assert code in (0, 1, 2), (arguments, err)
        assert "bug:" not in err, (arguments, err)
        harmless_on_a_terminal(err)
        return out

    times = 0
    for kind in ("terminal", "markdown", "latex", "html", "csv", "json"):
        text = run("report", "group", "--format", kind)
        assert "baseline" in text or "alert(1)" in text, kind
        if kind == "html":
            harmless_html(text)
        elif kind == "markdown":
            harmless_html(markdown_it.MarkdownIt("commonmark").enable("table").render(text))
        elif kind == "latex":
            assert not unescaped_latex(text)
        elif kind == "csv":
            widths = {len(row) for row in csv.reader(io.StringIO(text))}
            assert len(widths) == 1
        elif kind == "json":
            json.loads(text)
        harmless_on_a_terminal(text)
        times += 1
    for methods in ("markdown", "latex"):
        text = run("report", "group", "--methods", "--format", methods)
        harmless_on_a_terminal(text)
        assert methods != "latex" or not unescaped_latex(text)
        times += 1
    key = sorted(store.keys())[0]
    failed = next(k for k in store.keys() if store.state(k).status == "failed")  # noqa: SIM118
    for command in (
        ("status",), ("logs", failed[:8]), ("logs", key[:8]), ("diff", "group:1", "group:2"),
        ("query", "select message, label, device_name, host from trials"), ("gc", "-v"),
        ("query", "from effects"), ("query", "from trials", "--format", "markdown"),
        ("query", "from trials", "--format", "csv"), ("verify", key[:8]), ("reindex",),
        ("export", "group", "-o", "out.zip", "--anonymous"), ("report", "nothing\x1b[2J"),
    ):  # fmt: skip
        text = run(*command)
        if command[-1] != "csv":  # for programs, as it is
            harmless_on_a_terminal(text)
        if command[-1] == "markdown":
            harmless_html(markdown_it.MarkdownIt("commonmark").enable("table").render(text))
        times += 1
    proved(
        "safety", "HTML, Markdown, LaTeX, markup, control and bidirectional characters in names, "
        "messages, machines", f"{len(HOSTILE)} texts in a stored study; reports and commands "
        "parsed by html5lib and markdown-it", times, "none acts; nothing is a bug",
    )  # fmt: skip


def test_names_of_files_in_a_store_are_shown_harmless(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    train(store, make_trial(9), 0.5)
    for name in ("\x1b[2J", "new\nline", "\u202eright", "[red]x", "ünï", "a" * 250):
        (store.path / name).write_text("x")
        (store.path / "trials" / name).mkdir()
    for arguments in (["gc", "-v"], ["gc", "--yes"], ["gc", "--json"]):
        capfd.readouterr()
        assert main(arguments) == 0
        out, err = capfd.readouterr()
        harmless_on_a_terminal(out + err)
        assert "[red]x" in out
    assert (store.path / "new\nline").exists()
