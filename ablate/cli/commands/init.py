"""`ablate init`: a commented study file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.app import command
from ablate.cli.options import Options, path
from ablate.errors import AblateError
from ablate.util.files import write_result

HELP = """\
Write a small study file with comments: ready to be trained, made to be edited.

Usage: ablate init FILE [options]
Example    ablate init my.toml

           --force              replace the file if it exists
Exit: 0 written, 2 refused.
"""


@command("init", HELP)
def init(
    options: Options,
    file: Annotated[Path, typer.Argument(metavar="FILE", parser=path)],
    force: Annotated[bool, typer.Option("--force")] = False,
) -> None:
    """Write the study."""
    from ablate.study import init_text

    if file.suffix != ".toml":
        named = file.with_suffix(".toml") if file.name else file / "my.toml"
        raise AblateError(f"{file}: a study file ends in .toml", hint=f"ablate init {named}")
    if file.exists() and not force:
        raise AblateError(f"{file} exists already", hint=f"ablate init {file} --force replaces it")
    text = init_text()
    if not file.parent.is_dir():
        raise AblateError(f"there is no folder {file.parent}", hint=f"mkdir -p {file.parent}")
    write_result(file, text)
    output = options.output()
    lines = len(text.splitlines())
    if output.json:
        output.document({"written": str(file), "lines": lines})
        return
    output.note(
        f"Wrote {file} ({lines} lines). Next: ablate check {file} · ablate plan {file}"
        if output.err.interactive
        else f"Wrote {file} ({lines} lines)."
    )
