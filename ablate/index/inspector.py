"""A process of its own that opens a database nobody has looked at, and says whose it is.

DuckDB trusts the files that it opens: one that somebody made on purpose may crash it, keep it busy
without end or take all memory while it is opened. That hits this process alone, which has limits
of both. What it finds is compared with a database that the same DuckDB has just made of our
tables, so no version of DuckDB has to be known here.

Run by `ablate.index.vetting` as a file, without `ablate` and without what `site` imports: a
question waits for it. The request is JSON in its first argument, the answer lines of it on stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections import Counter
from typing import Any

# Nothing here looks into a view: what binds one may take as long as its maker wanted. Columns come
# when it is known that there are no views. What is "internal" is left in: that is the file's word.
CATALOGUE = {
    "schema": "schema_name FROM duckdb_schemas()",
    "view": "schema_name, view_name FROM duckdb_views()",
    # sql has defaults, generated columns, collations, checks and keys
    "table": "schema_name, table_name, temporary, sql FROM duckdb_tables()",
    "macro": "schema_name, function_name, function_type FROM duckdb_functions()",
    "type": "schema_name, type_name FROM duckdb_types()",
    "sequence": "schema_name, sequence_name FROM duckdb_sequences()",
    "index": "schema_name, index_name FROM duckdb_indexes()",
    "trigger": "schema_name, trigger_name FROM duckdb_triggers()",
    "column": "schema_name, table_name, column_name, column_index, data_type, column_default, "
    "is_nullable FROM duckdb_columns()",
}
_PR_SET_PDEATHSIG = 1
_ROWS_PER_BYTE = 2  # ours have a tenth or less; a file of 1 MB can claim a billion equal ones


def main() -> None:
    """Answer the request."""
    request = json.loads(sys.argv[1])
    bounded = _limit(request["processor"], request["memory"], request["seconds"])
    sys.path.append(request["packages"])
    try:  # a quarter of the time that the package around it takes
        duckdb = importlib.import_module("_duckdb")
    except ImportError:
        duckdb = importlib.import_module("duckdb")
    # From here on it is the database's doing if there is no answer, or a tighter limit's.
    _say("ready" if bounded else "unknown", "has less memory than it wants")
    try:
        with duckdb.connect(request["path"], read_only=True, config=request["settings"]) as given:
            verdict, why = _compared(duckdb, given, request)
    except (MemoryError, duckdb.OutOfMemoryException):
        verdict, why = ("foreign" if bounded else "unknown"), "takes too much memory to open"
    except Exception as error:  # noqa: BLE001 - DuckDB's of every kind, text that is none
        verdict, why = "error", str(error)
    _say(verdict, why)
    os._exit(0)  # nothing of a stranger's is taken down in order


def _limit(processor: int, memory: int, seconds: int) -> bool:
    """Limit this process; False where somebody else's limit of memory is tighter."""
    try:
        import resource
        import signal
    except ImportError:  # Windows: whoever started it ends it
        return True
    if sys.platform.startswith("linux"):
        import ctypes

        # Not a moment longer than whoever started it: it holds the database as a reader does.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)  # in other systems
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or hard > processor:
        resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if any(one != resource.RLIM_INFINITY and one < memory for one in (soft, hard)):
        return False
    with contextlib.suppress(ValueError, OSError):  # a system that has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    return True


def _compared(duckdb: Any, given: Any, request: dict[str, Any]) -> tuple[str, str]:
    with duckdb.connect(":memory:", config=request["settings"]) as ours:
        ours.execute(request["tables"])
        version = _version(ours, given)
        if version is None:
            return "foreign", "has no version"
        if version != request["version"]:
            return ("older" if version < request["version"] else "newer"), str(version)
        for kind, listed in CATALOGUE.items():
            asked = f"SELECT {listed} WHERE database_name = current_database()"
            try:
                expected = ours.execute(asked).fetchall()
            except duckdb.CatalogException:  # this DuckDB does not know such things
                continue
            found = given.execute(f"{asked} LIMIT {len(expected) + 1}").fetchall()
            if more := Counter(found) - Counter(expected):
                name = _named(kind, min(more, key=str))
                other = name in {_named(kind, row) for row in expected}
                return "foreign", f"has {'another' if other else _article(kind)} {name}"
            if less := Counter(expected) - Counter(found):
                return "foreign", f"has no {_named(kind, min(less, key=str))}"
    size = os.stat(request["path"]).st_size
    counted = "SELECT coalesce(sum(estimated_size), 0) FROM duckdb_tables()"
    (rows,) = given.execute(counted).fetchone()
    if rows > _ROWS_PER_BYTE * size:
        return "foreign", f"claims {rows:,} rows in {size:,} bytes"
    given.execute(request["sources"]).fetchall()  # what is read whenever lines are taken in
    return "ours", ""


def _version(ours: Any, given: Any) -> int | None:
    """The number in it, if that is in a table as ours is: reading it runs nothing."""
    table = (
        "SELECT sql FROM duckdb_tables() "
        "WHERE schema_name = 'spool' AND table_name = 'version' LIMIT 2"
    )
    view = (
        "SELECT 1 FROM duckdb_views() WHERE schema_name = 'spool' AND view_name = 'version' LIMIT 1"
    )
    if given.execute(table).fetchall() != ours.execute(table).fetchall():
        return None
    if given.execute(view).fetchall():
        return None
    numbers = given.execute("SELECT number FROM spool.version LIMIT 2").fetchall()
    return numbers[0][0] if len(numbers) == 1 else None


def _named(kind: str, row: tuple[Any, ...]) -> str:
    name = ".".join(str(part) for part in row[: 3 if kind == "column" else 2])
    return f"{kind} {name}"[:200]


def _article(kind: str) -> str:
    return "an" if kind.startswith("i") else "a"


def _say(verdict: str, why: str) -> None:
    os.write(1, (json.dumps([verdict, why[:1000]]) + "\n").encode())


if __name__ == "__main__":
    main()
