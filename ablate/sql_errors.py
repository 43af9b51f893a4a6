"""What DuckDB says of a statement that failed, in a line that tells what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ablate.errors import AblateError, did_you_mean
from ablate.sql_limits import MEMORY_GB, Clock, timed_out

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VIEWS: Final = {
    "trials": "one row per training: settings, status, metrics, cost, machine",
    "epochs": "one row per epoch and metric of a training",
    "predictions": "one row per test image of a training that ended",
    "effects": "one row per difference that reports print: Δ, interval, verdict",
}
HINT: Final = f'views: {", ".join(VIEWS)} · columns: ablate query "describe trials"'


class Damaged(AblateError):
    """DuckDB could not read the database, or failed itself: which of them is found out."""


@contextlib.contextmanager
def explained(connection: DuckDBPyConnection, sql: str, clock: Clock) -> Iterator[None]:
    """What DuckDB and its Python package raise, in a line of ours."""
    import duckdb

    # What DuckDB raises for a file that is not what it wrote, and for errors of its own; its
    # Python package has no class for "corrupt database file", which is a bare Error.
    of_damage = (
        *(duckdb.IOException, duckdb.SerializationException),
        *(duckdb.FatalException, duckdb.InternalException),
    )
    try:
        yield
    except AblateError:
        raise
    except (duckdb.InterruptException, RuntimeError) as error:
        if clock.over:
            raise timed_out(clock.limit) from None
        if "nterrupted" in str(error):  # Ctrl-C, which DuckDB notices itself
            raise KeyboardInterrupt from None
        raise _in_words(connection, sql, str(error)) from None
    except (duckdb.OutOfMemoryException, MemoryError):
        raise AblateError(
            f"query: needs more than {MEMORY_GB} GB of memory",
            hint="ask for less: fewer columns, where, limit, or group by",
        ) from None
    except (duckdb.Error, ValueError, OverflowError) as error:
        if clock.over:
            raise timed_out(clock.limit) from None
        told = _in_words(connection, sql, str(error))
        if isinstance(error, of_damage) or type(error) is duckdb.Error:
            raise Damaged(told.message, hint=told.hint) from None
        raise told from None


def _in_words(connection: DuckDBPyConnection, sql: str, text: str) -> AblateError:
    first = text.partition("\n")[0]
    if found := re.search(r'Table with name "?([^"]+?)"? does not exist', first):
        name = found[1]
        return AblateError(f"query: no view '{name}'{did_you_mean(name, [*VIEWS])}", hint=HINT)
    if found := re.search(r'(?:Referenced column|have a column named) "([^"]+)"', first):
        return _no_column(connection, sql, found[1])
    if found := re.search(r"Function with name \"?([^\s\"]+)\"? does not exist", first):
        close = re.search(r'Did you mean "([^"]+)"', text)
        meant = f"; did you mean '{close[1]}'?" if close else ""
        return AblateError(f"query: no function '{found[1]}'{meant}", hint=HINT)
    if "disabled" in first or "read-only" in first or "locked" in first:
        return AblateError("query: files, settings and other databases are out of reach",
                           hint=HINT)  # fmt: skip
    return AblateError(f"query: {_plain(text)}", hint=HINT)


def _plain(text: str) -> str:
    """The first line of what DuckDB says, without its kind of error."""
    kind = r"^(?:[A-Z][\w ]*? Error|INTERNAL Error|TransactionContext Error): "
    return re.sub(kind, "", text.partition("\n")[0]) or "it failed"


def _no_column(connection: DuckDBPyConnection, sql: str, name: str) -> AblateError:
    mentioned = [view for view in VIEWS if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]
    listing = (
        "SELECT DISTINCT column_name FROM duckdb_columns() WHERE table_name IN (SELECT unnest(?))"
    )
    known: list[str] = []
    with contextlib.suppress(Exception):
        connection.rollback()
    with contextlib.suppress(Exception):
        known = [row[0] for row in connection.execute(listing, [mentioned]).fetchall()]
    close = did_you_mean(name, sorted(known))
    close = close if "did you mean" in close else ""
    view = mentioned[0] if mentioned else "trials"
    quotes = "; text stands in 'single quotes'" if f'"{name}"' in sql and not close else ""
    return AblateError(
        f"query: no column '{name}'{close}{quotes}", hint=f'columns: ablate query "describe {view}"'
    )
