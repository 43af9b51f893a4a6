"""`ablate reindex`: the database anew, from what trials wrote."""

from __future__ import annotations

import time

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.util.text import count, one_line

HELP = """\
Rebuild the store's database from the spool, which is the truth. Nothing is lost by it.

Usage: ablate reindex [options]
Example    ablate reindex

           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
"""


@command("reindex", HELP)
def reindex(options: Options) -> None:
    """Rebuild it."""
    from ablate.index import database
    from ablate.store.store import Store

    began = time.monotonic()
    output = options.output()
    store = Store.open(options.store_path, create=False)
    counts = database.reindex(store.path)
    if output.json:
        output.document({"store": str(store.path), **counts})
        return
    parts = [
        count(counts["trial"], "trial"),
        count(counts["attempt"], "attempt"),
        count(counts["epoch"], "epoch"),
    ]
    output.note(
        f"Rebuilt {one_line(str(store.path / 'results.duckdb'))}: {', '.join(parts)} in "
        f"{time.monotonic() - began:.1f} s"
    )
    if counts["set_aside"]:
        output.warn(f"{count(counts['set_aside'], 'line')} could not be read and was set aside")
