"""The index: what attempts say, in DuckDB, for reports and queries. Rebuilt at any time.

What tables and views there are: `ablate.index.schema`. The file is held for milliseconds: one
transaction takes in the new complete lines *and* how far they were read, so that a kill neither
loses nor doubles a row. A file is made, and remade, under another name and renamed into place.
Never open results.duckdb by other means in a process that has it open in DuckDB: closing it would
drop DuckDB's lock.

Many rows go in as NumPy arrays, few as lists: each is the faster for its number.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ablate.errors import AblateError
from ablate.index import vetting
from ablate.index.known import Foreign
from ablate.index.lock import Busy, Refused, exclusively, is_refused, patiently
from ablate.index.rows import MISSING, Read, Sources, Stale, collect
from ablate.index.schema import NAMES, TABLES, VERSION, VIEWS
from ablate.index.vetting import FILE, Newer, at_most
from ablate.util import beneath
from ablate.util.files import utc_now

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from ablate.index.rows import Batch, Predictions

    Warn = Callable[[str], None]

_INGESTING: Final = 1.0  # seconds that an ingester hardly ever takes
_READING: Final = 10.0  # seconds to read what the index has of which file; ours take a hundredth
_SCANNING: Final = 120.0  # seconds to read every value; 10 million rows take two


def _silent(_: str) -> None:
    pass


def ingest(store_path: Path, warn: Warn = _silent) -> int:
    """Take in what the spool has beyond the index; the number of new lines.

    0 and no error if another process is at it, reads the index, or nothing can be written: the
    spool keeps everything for the next time. A damaged index is set aside and rebuilt, an older
    version's rebuilt, a newer one's left as it is. warn: told of one that ablate did not make,
    which is set aside too.
    """
    try:
        return exclusively(store_path, lambda path: _update(path, warn))
    except (Busy, Refused, Newer):
        return 0


def reindex(store_path: Path) -> dict[str, int]:
    """Rebuild the index from the spool; the number of lines read, and of rows by table.

    Raises AblateError if nothing can be written or another process does not finish.
    """
    try:
        lines = patiently(lambda: exclusively(store_path, _rebuild))
    except Busy:
        raise AblateError(
            f"another process is indexing {store_path}", hint="try again in a moment"
        ) from None
    except Refused as refused:
        raise AblateError(f"cannot write {store_path / FILE}: {refused}") from None
    with connect(store_path) as connection:
        return {"lines": lines} | {table: _count(connection, table) for table in NAMES}


def connect(store_path: Path, warn: Warn = _silent) -> DuckDBPyConnection:
    """A read-only connection to an index that has all of the spool. Close it soon.

    While it is open nobody can take new lines in. If the index cannot be brought up to date (a
    read-only store, a full disk, a reader that stays) or opened, it is an index in memory, built
    from the spool. warn: told of an index that ablate did not make.
    """
    import duckdb

    def open_current(path: Path) -> DuckDBPyConnection:
        _update(path, warn)
        return _for_questions(vetting.reading(path / FILE))

    began = time.monotonic()

    def attempt() -> DuckDBPyConnection:
        try:
            return exclusively(store_path, open_current)
        except Busy:  # for longer than by an ingester: by readers, who leave it as it is
            if time.monotonic() - began < _INGESTING:
                raise
            if (connection := _unchanged(store_path)) is not None:
                return connection
            raise

    with contextlib.suppress(Busy, Refused, Newer, Foreign, Stale, duckdb.Error):
        return patiently(attempt)
    # Damaged, missing, of another version: memory it is.
    with contextlib.suppress(Busy, Refused, Newer, Foreign, Stale, duckdb.Error):
        if (connection := _unchanged(store_path)) is not None:
            return connection
    return in_memory(store_path)


def mended(store_path: Path, warn: Warn = _silent) -> DuckDBPyConnection:
    """As `connect`, where an open index could not be read: if it is damaged it is made anew.

    What is damaged may lie where nothing else has looked: opening reads a few blocks of the file.
    """
    import duckdb

    if not _is_whole(store_path):
        try:
            patiently(lambda: exclusively(store_path, _rebuild_damaged))
        except (Busy, Refused, duckdb.Error):
            return in_memory(store_path)
    return connect(store_path, warn)


def _rebuild_damaged(store_path: Path) -> None:
    if not _is_whole(store_path):  # else another process was here before
        _set_aside(store_path / FILE)
        _rebuild(store_path)


def _is_whole(store_path: Path) -> bool:
    """Whether all values of the index can be read, its blocks are what their checksums say."""
    import duckdb

    try:
        index = vetting.reading(store_path / FILE)
        with contextlib.closing(index) as connection, at_most(connection, _SCANNING):
            for table in NAMES:
                connection.execute(f"SELECT bit_xor(hash(t)) FROM spool.{table} AS t").fetchall()  # noqa: S608 - a table of ours
    except (Busy, Refused, Newer, Stale):
        return True  # as far as anybody can tell
    except (Foreign, duckdb.Error):
        return False
    return True


def _unchanged(store_path: Path) -> DuckDBPyConnection | None:
    """The index as it is, if it has all of the spool."""
    connection = vetting.reading(store_path / FILE)
    try:
        current = _is_current(connection, store_path)
        if current:
            return _for_questions(connection)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def in_memory(store_path: Path) -> DuckDBPyConnection:
    """An index in memory, built from the spool as it is now."""
    connection = vetting.in_memory()
    _fill(connection, store_path)
    return _for_questions(connection)


def _for_questions(connection: DuckDBPyConnection) -> DuckDBPyConnection:
    connection.execute(VIEWS)
    return connection


class Standing(NamedTuple):
    """How the index stands to the spool.

    set_aside: what could not be read: lines of metrics, files of predictions.
    """

    state: Literal["current", "behind", "missing", "damaged", "foreign", "busy", "older", "newer"]
    set_aside: int = 0


def standing(store_path: Path, *, deep: bool = False) -> Standing:
    """Whether the index has all of the spool. Reads sizes and what is new, and changes nothing.

    deep: read all values of the index too.
    """
    import duckdb

    path = store_path / FILE
    if not os.path.lexists(path):
        return Standing("missing")
    try:
        index = vetting.reading(path)
        with contextlib.closing(index) as connection:
            aside = _count(connection, "set_aside")
            current = _is_current(connection, store_path)
    except (Busy, Refused):
        return Standing("busy")
    except Newer:
        return Standing("newer")
    except Stale:
        return Standing("older")
    except Foreign:
        return Standing("foreign")
    except duckdb.Error:
        return Standing("damaged")
    if deep and not _is_whole(store_path):
        return Standing("damaged")
    return Standing("current" if current else "behind", aside)


# ----------------------------------------------------------------------------------- taking in


def _update(store_path: Path, warn: Warn) -> int:
    import duckdb

    path = store_path / FILE
    if not os.path.lexists(path):
        return _rebuild(store_path)
    lines = 0
    try:
        vetting.drop_logs(path)
        # Opened twice, so that nobody waits while the spool is read in between.
        with contextlib.closing(vetting.reading(path)) as connection:
            known = _sources(connection)
        for batch in collect(store_path, known):
            with vetting.writing(path) as connection:
                insert(connection, batch)
            lines += batch.lines
    except Stale:
        return _rebuild(store_path)
    except Foreign as foreign:
        aside = _set_aside(path)
        lines = _rebuild(store_path)
        warn(f"{FILE} {foreign}, so ablate did not make it: set aside as {aside}, and made anew")
        return lines
    except duckdb.Error as error:
        if is_refused(error):
            raise
        _set_aside(path)
        return _rebuild(store_path)
    return lines


def _rebuild(store_path: Path) -> int:
    import duckdb

    path = store_path / FILE
    for leftover in store_path.glob(f"{FILE}.new-*"):
        with contextlib.suppress(OSError):  # not ours: a folder
            leftover.unlink()
    fresh = path.with_name(f"{FILE}.new-{secrets.token_hex(4)}")
    try:
        with vetting.writing(fresh) as connection:
            lines = _fill(connection, store_path)
        if path.is_dir() and not path.is_symlink():
            _set_aside(path)  # nothing can be renamed into its place
        # The old file's log first: beside the new file it would be replayed into it.
        try:
            vetting.drop_logs(path)
        except Foreign:
            _set_aside(path)
        beneath.rename(fresh, path)  # not where another folder is in the store's place by now
        vetting.made(path)
    except (
        *(duckdb.IOException, duckdb.TransactionException),
        *(duckdb.FatalException, duckdb.PermissionException),
    ) as error:
        # A new file is not damaged: there is no space, or DuckDB cannot have it there. It takes
        # what is behind a "?" for options, and opens nothing below "a\\b".
        raise Refused(str(error).partition("\n")[0]) from error
    finally:
        for leftover in store_path.glob(f"{fresh.name}*"):
            leftover.unlink()
    return lines


def _set_aside(path: Path) -> str:
    """Give it another name, which is returned; a link is renamed, not what it leads to."""
    aside = f"{path.name}.corrupt-{utc_now().replace(':', '')}"
    for suffix in ("", *vetting.LOGS):
        with contextlib.suppress(FileNotFoundError):
            beneath.rename(path.with_name(path.name + suffix), path.with_name(aside + suffix))
    return aside


def _fill(connection: DuckDBPyConnection, store_path: Path) -> int:
    """Make the tables and take in the whole spool; the number of lines."""
    connection.execute(TABLES)
    connection.execute("INSERT INTO spool.version VALUES (?)", [VERSION])
    lines = 0
    for batch in collect(store_path, {}):
        insert(connection, batch)
        lines += batch.lines
    return lines


# ------------------------------------------------------------------------------------- reading


def _sources(connection: DuckDBPyConnection) -> Sources:
    """What the index has of which file. Raises Foreign for what ablate never writes."""
    with at_most(connection, _READING):
        rows = connection.execute(vetting.SOURCES).fetchall()
    found = {}
    for path, size, epoch, sequence in rows:
        if path is None or size is None or size < MISSING:
            raise Foreign("names a file without a length")
        found[path] = Read(size, epoch or 0, -1 if sequence is None else sequence)
    if len(found) > vetting.MOST_SOURCES:
        raise Foreign(f"names more than {vetting.MOST_SOURCES:,} files")
    return found


def _is_current(connection: DuckDBPyConnection, store_path: Path) -> bool:
    try:
        return next(collect(store_path, _sources(connection)), None) is None
    except Stale:
        return False


def _count(connection: DuckDBPyConnection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM spool.{table}").fetchone() or (0,)  # noqa: S608 - a table of ours
    return int(count)


# DuckDB takes NumPy arrays a hundred times faster than lists, but has no NULL in them: a number
# that no row can have stands for it.
_NO_INTEGER: Final = -(2**63)
_FROM_ARRAY: Final = {
    "VARCHAR": "{}",
    "BIGINT": f"nullif({{}}, {_NO_INTEGER})",
    "INTEGER": f"nullif({{}}, {_NO_INTEGER})",
    "DOUBLE": "CASE WHEN isnan({0}) THEN NULL ELSE {0} END",
}
_MANY: Final = 1000  # rows from which arrays are faster


def insert(connection: DuckDBPyConnection, batch: Batch) -> None:
    """All of a batch, in one transaction."""
    connection.execute("BEGIN")
    for name, rows in batch.tables.items():
        table = f"spool.{name}"
        described = connection.execute(f"DESCRIBE {table}").fetchall()
        types = [str(column[1]) for column in described]
        columns = [list(values) for values in zip(*rows, strict=True)]
        if len(rows) < _MANY or not set(types) <= set(_FROM_ARRAY):
            listed = ", ".join(f"unnest(?::{type_}[])" for type_ in types)
            connection.execute(f"INSERT INTO {table} SELECT {listed}", columns)
        else:
            arrays = {
                f"c{i}": _array(v, t) for i, (v, t) in enumerate(zip(columns, types, strict=True))
            }
            listed = ", ".join(_FROM_ARRAY[t].format(f"c{i}") for i, t in enumerate(types))
            _insert_arrays(connection, table, listed, arrays)
    alike: dict[tuple[int, bool], list[Predictions]] = {}
    for one in batch.predictions:
        alike.setdefault((one.scores.shape[1], one.classes is None), []).append(one)
    for predictions in alike.values():
        _insert_predictions(connection, predictions)
    connection.execute("COMMIT")


def _array(values: list[Any], type_: str) -> NDArray[Any]:
    import numpy as np

    if type_ == "VARCHAR":
        return np.array(values, dtype=object)
    if type_ == "DOUBLE":
        return np.array(values, dtype=np.float64)  # None is NaN
    return np.array([_NO_INTEGER if v is None else v for v in values], dtype=np.int64)


def _insert_predictions(connection: DuckDBPyConnection, alike: list[Predictions]) -> None:
    """Those of several attempts, of as many scores an image: each insertion takes milliseconds."""
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {
        "run": np.repeat([one.run for one in alike], [len(one.ids) for one in alike]),
        "id": np.concatenate([one.ids for one in alike]),
        "label": np.concatenate([one.labels for one in alike]),
    }
    lists = []
    classes = [one.classes for one in alike if one.classes is not None]
    for name, values, type_ in (
        ("s", [one.scores for one in alike], "FLOAT"),
        ("c", classes, "INTEGER"),
    ):
        if not values:
            lists.append("NULL")
            continue
        whole: NDArray[Any] = np.concatenate(values)
        columns = {f"{name}{i}": np.ascontiguousarray(v) for i, v in enumerate(whole.T)}
        arrays |= columns
        lists.append(f"[{', '.join(columns)}]::{type_}[]")
    listed = f"run, id, label, {', '.join(lists)}"
    _insert_arrays(connection, "spool.prediction", listed, arrays)


def _insert_arrays(
    connection: DuckDBPyConnection,
    table: str,
    listed: str,
    arrays: dict[str, NDArray[Any]],
) -> None:
    connection.register("arrays", arrays)
    try:
        connection.execute(f"INSERT INTO {table} SELECT {listed} FROM arrays")  # noqa: S608
    finally:
        connection.unregister("arrays")
