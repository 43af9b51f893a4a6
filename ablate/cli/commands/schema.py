"""`ablate schema`: for editors that complete and check TOML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.app import command
from ablate.cli.options import Options, path
from ablate.util.files import write_result

HELP = """\
Print the JSON Schema of study files, with the installed tricks and their parameters.

Usage: ablate schema [options]
Example    ablate schema -o ablate.schema.json

           -o FILE              write it there instead of stdout
Editors that know TOML schemas take it from a first line  #:schema ./ablate.schema.json
"""


@command("schema", HELP)
def schema(
    options: Options,
    file: Annotated[Path | None, typer.Option("--output", "-o", parser=path)] = None,
) -> None:
    """Print it."""
    from ablate.study.json_schema import study_schema
    from ablate.tricks.discovery import load_catalogue

    output = options.output()
    document = study_schema(load_catalogue(bundled_only=options.no_plugins))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if file is None:
        output.raw(text)
        return
    write_result(file, text)
    output.note(f"Wrote {file}.")
