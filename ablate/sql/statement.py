"""SQL over a store, asked safely: one statement that reads, no files, limited memory and time.

DuckDB itself refuses to write, to open files, to load extensions and to change settings: see
`ablate.index.vetting`. Before that, anything but one SELECT, DESCRIBE, SHOW or SUMMARIZE is refused
here. Time is limited by an interrupt. A function that computes one enormous value notices neither
interrupt nor DuckDB's memory limit; where a process does nothing but ask, as `ablate query`, it is
`alone`: the operating system then limits its memory and `stuck` may end it. What DuckDB says of a
statement that failed becomes a line that tells what to do.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ablate.errors import AblateError, did_you_mean
from ablate.index import database
from ablate.index.vetting import MEMORY_GB, in_memory
from ablate.sql.effects import COLUMNS, columns_of, effects
from ablate.sql.limits import Clock, limited_memory, noticed, timed_out

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ablate.store.store import Store

    Connect = Callable[[Path, Callable[[str], None]], DuckDBPyConnection]


TIMEOUT: Final = 30.0  # seconds

# A statement that only reads is parsed as a SELECT; PRAGMA is too, by some versions, hence words.
_READING: Final = (
    *("select", "from", "with", "values", "table", "pivot", "unpivot"),
    *("describe", "desc", "show", "summarize"),
)
LONGEST: Final = 1_000_000  # characters of SQL
_PIECE: Final = 10_000  # rows fetched at a time


class Column(NamedTuple):
    """A column of an answer; type: as DuckDB writes it, such as DOUBLE or VARCHAR[]."""

    name: str
    type: str

    @property
    def number(self) -> bool:
        """Whether it holds numbers."""
        return bool(re.fullmatch(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*",
                                 self.type))  # fmt: skip


def names_of(columns: Sequence[Column]) -> list[str]:
    """Names for the values of a row; the second of two equal ones is "name_1"."""
    found: dict[str, None] = {}
    for column in columns:
        name, number = column.name, 0
        while name in found:
            number += 1
            name = f"{column.name}_{number}"
        found[name] = None
    return list(found)


class Answer:
    """What a query gives. Only inside `ask`.

    If the database turns out to be damaged before anything was given, it is mended and asked again.
    """

    def __init__(
        self,
        connection: DuckDBPyConnection,
        open_: Callable[[Connect], DuckDBPyConnection],
        statement: str,
        clock: Clock,
    ) -> None:
        self._connection, self._open = connection, open_
        self._statement, self._clock = statement, clock
        try:
            try:
                self._execute()
            except Damaged:
                self._mend()
        except BaseException:
            self.close()
            raise
        described = self._connection.description or []
        self.columns = tuple(Column(str(one[0]), str(one[1])) for one in described)

    def close(self) -> None:
        """Let others write to the database again."""
        self._connection.close()

    def _execute(self) -> None:
        with self._asking():
            self._connection.execute(self._statement)

    def _mend(self) -> None:
        self.close()
        self._connection = self._open(database.mended)
        self._execute()

    def pieces(self, rows: int = _PIECE) -> Iterator[list[tuple[Any, ...]]]:
        """The rows, some at a time; they are fetched once."""
        try:
            piece = self._fetch(rows)
        except Damaged:
            self._mend()
            piece = self._fetch(rows)
        while piece:
            yield piece
            try:
                piece = self._fetch(rows)
            except Damaged as error:  # what was given cannot be taken back
                raise AblateError(error.message, hint="ablate reindex, then ask again") from None

    def _fetch(self, rows: int) -> list[tuple[Any, ...]]:
        with self._asking():
            return self._connection.fetchmany(rows)

    def total(self) -> int | None:
        """How many rows there are in all, asked anew; None where that takes too long."""
        counting = f"SELECT count(*) FROM (\n{self._statement.rstrip().rstrip(';')}\n)"  # noqa: S608
        with contextlib.suppress(AblateError), self._asking():
            found = self._connection.execute(counting).fetchone()
            return int(found[0]) if found else None
        return None

    @property
    def seconds(self) -> float:
        """Time that DuckDB took so far."""
        return self._clock.spent

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        with explained(self._connection, self._statement, self._clock), self._clock.running():
            yield


@contextlib.contextmanager
def ask(
    store: Store,
    sql: str,
    *,
    timeout: float = TIMEOUT,
    warn: Callable[[str], None],
    alone: bool = False,
    stuck: Callable[[], None] | None = None,
    behind: Callable[[], None] = lambda: None,
) -> Iterator[Answer]:
    """The answer to one statement. While it is open no new lines can be taken into the index.

    timeout: seconds that DuckDB may take; what reading a piece's receiver takes is not counted.
    warn: told of studies that `effects` leaves out. alone: whether this process does nothing else,
    and its memory may be limited. stuck: called from a thread where an interrupt is not heard.
    behind: called from a thread where taking new lines into the index takes long.

    Raises AblateError for what is not allowed, does not parse, takes too long or too much memory.
    """
    clock = Clock(timeout, stuck)
    with contextlib.closing(in_memory()) as bare:
        statement = _one(bare, sql, clock)
    rows = []
    described = _word(statement) in ("describe", "desc")
    if re.search(r"\beffects\b", statement, re.IGNORECASE) and not described:
        rows = effects(store, warn)

    def opened(connect: Connect) -> DuckDBPyConnection:
        with noticed(behind):
            connection = connect(store.path, warn)
        _add_effects(connection, rows)
        clock.interrupt = connection.interrupt
        return connection

    connection = opened(database.connect)
    with (
        limited_memory() if alone else contextlib.nullcontext(),
        contextlib.closing(Answer(connection, opened, statement, clock)) as answer,
    ):
        yield answer


def _one(connection: DuckDBPyConnection, sql: str, clock: Clock) -> str:
    """The statement, if it is one that reads."""
    if len(sql) > LONGEST:
        raise AblateError(
            f"query: {len(sql):,} characters; at most {LONGEST:,} are read", hint=HINT
        )
    if not sql.isascii() and any(0xD800 <= ord(char) <= 0xDFFF for char in sql):
        raise AblateError("query: the statement is not UTF-8 text", hint=HINT)
    with explained(connection, sql, clock):
        try:
            statements = connection.extract_statements(sql)
        except ValueError as error:  # a kind of statement that the Python package does not know
            raise _refused(_word(sql)) from error
    pivots = re.search(r"\bpivot\b", sql, re.IGNORECASE)
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if pivots and (kinds == ["MULTI"] or kinds[:1] == ["CREATE"]):
        raise AblateError(
            "query: PIVOT has to say which values become columns",
            hint="pivot epochs on metric in ('top1', 'loss') using first(value) group by …",
        )
    if len(statements) > 1:
        raise AblateError(f"query: one statement at a time; these are {len(statements)}")
    if not statements:
        raise AblateError("query: nothing is asked", hint=HINT)
    statement = str(statements[0].query)
    word = _word(sql)  # DuckDB 1.5 gives some PRAGMAs back as the SELECT that they stand for
    if kinds[0] != "SELECT" or word not in _READING:
        raise _refused(word)
    return statement


def _refused(word: str) -> AblateError:
    return AblateError(
        f"query: {word.upper()[:40] or 'this'} is not allowed; a query only reads",
        hint="SELECT, FROM, WITH, DESCRIBE, SHOW and SUMMARIZE are",
    )


def _word(sql: str) -> str:
    """The first word, in lower case, behind comments and parentheses."""
    text = re.sub(r"\A(?:\s|\(|--[^\n]*(?:\n|\Z)|/\*.*?\*/)+", "", sql, flags=re.DOTALL)
    found = re.match(r"\w+", text)
    return found.group().lower() if found else ""


def _add_effects(connection: DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> None:
    """A table of this connection alone: the file stays as it is."""
    listed = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    connection.execute(f"CREATE TEMP TABLE effects ({listed})")
    if rows:
        values = ", ".join(f"unnest(?::{type_}[])" for type_ in COLUMNS.values())
        columns = list(columns_of(list(rows)).values())
        connection.execute(f"INSERT INTO effects SELECT {values}", columns)


VIEWS: Final = {
    "trials": "one row per training: settings, status, metrics, cost, machine",
    "epochs": "one row per epoch and metric of a training",
    "predictions": "one row per test image of a training that is done",
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
