"""`ablate export`: one archive for a paper's artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.app import command
from ablate.cli.options import Options, path
from ablate.errors import AblateError
from ablate.util.text import count, megabytes

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.store.store import Store

HELP = """\
Write one archive for a paper's artifact: studies, tables, every seed and epoch, provenance.

Usage: ablate export [STUDY…] -o FILE.zip|.tar.gz [options]
Example    ablate export group1 group2 -o artifact.zip --anonymous

STUDY is a file or the name of a stored study, as its last run had it; without one it is all of
them. The same results give the same archive to the byte; SHA256SUMS in it checks every file.

What       --predictions        the scores of every test image too
           --weights            kept weights too: of trials that others learn from
           --anonymous          no host names, and no path but a file's own name
Where      -o FILE              .zip, .tar.gz or .tgz
           --force              write over a file that is there
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
"""


@command("export", HELP)
def export(
    options: Options,
    studies: Annotated[list[str] | None, typer.Argument(metavar="STUDY")] = None,
    file: Annotated[Path | None, typer.Option("--output", "-o", parser=path)] = None,
    predictions: Annotated[bool, typer.Option("--predictions")] = False,
    weights: Annotated[bool, typer.Option("--weights")] = False,
    anonymous: Annotated[bool, typer.Option("--anonymous")] = False,
    force: Annotated[bool, typer.Option("--force")] = False,
) -> None:
    """Write it."""
    from ablate.export import collect
    from ablate.store.store import Store
    from ablate.util.archives import check_ending, write_archive

    output = options.output()
    if file is None:
        raise AblateError("-o says where to write", hint="ablate export group1 -o group1.zip")
    check_ending(file)
    if file.exists() and not force:
        raise AblateError(f"{file} is there already", hint="--force writes over it")
    store = Store.open(options.store_path, create=False)
    found = collect(
        store,
        _studies(studies or [], store, options),
        anonymous=anonymous,
        predictions=predictions,
        weights=weights,
    )
    for note in found.notes:
        output.warn(note)
    size = write_archive(file, found.folder, found.contents)
    if output.json:
        output.document(
            {
                "file": str(file),
                "bytes": size,
                "studies": found.studies,
                "trials": found.trials,
                "files": [f"{found.folder}/{name}" for name in sorted(found.contents)],
            }
        )
        return
    parts = [count(found.studies, "study", "studies"), count(found.trials, "trial")]
    parts.append(count(len(found.contents) + 1, "file"))
    output.note(f"Wrote {file}: {', '.join(parts)}, {megabytes(size)}.")


def _studies(names: list[str], store: Store, options: Options) -> list[ResolvedStudy]:
    from ablate.session.lookup import from_store

    known = store.studies()
    if not names:
        if not known:
            raise AblateError(
                f"nothing is stored in {store.path}", hint="ablate run STUDY trains one"
            )
        names = sorted(known)
    found = {}
    for name in names:
        if name not in known and (name.endswith(".toml") or Path(name).is_file()):
            from ablate.study import stored_name

            name = stored_name(name)  # noqa: PLW2901
        found[name] = from_store(name, store).resolved
    return list(found.values())
