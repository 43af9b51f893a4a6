"""Rows into the index: the many as NumPy arrays, the few as lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from ablate.index_rows import Batch, Predictions

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
            _insert_arrays(connection, table, listed, arrays, [])
    for one in batch.predictions:
        _insert_predictions(connection, one)
    connection.execute("COMMIT")


def _array(values: list[Any], type_: str) -> NDArray[Any]:
    import numpy as np

    if type_ == "VARCHAR":
        return np.array(values, dtype=object)
    if type_ == "DOUBLE":
        return np.array(values, dtype=np.float64)  # None is NaN
    return np.array([_NO_INTEGER if v is None else v for v in values], dtype=np.int64)


def _insert_predictions(connection: DuckDBPyConnection, one: Predictions) -> None:
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {"id": one.ids, "label": one.labels}
    lists = []
    for name, values, type_ in (("s", one.scores, "FLOAT"), ("c", one.classes, "INTEGER")):
        if values is None:
            lists.append("NULL")
            continue
        columns = {f"{name}{i}": np.ascontiguousarray(v) for i, v in enumerate(values.T)}
        arrays |= columns
        lists.append(f"[{', '.join(columns)}]::{type_}[]")
    listed = f"?, id, label, {', '.join(lists)}"
    _insert_arrays(connection, "spool.prediction", listed, arrays, [one.run])


def _insert_arrays(
    connection: DuckDBPyConnection,
    table: str,
    listed: str,
    arrays: dict[str, NDArray[Any]],
    constants: list[int],
) -> None:
    connection.register("arrays", arrays)
    try:
        connection.execute(f"INSERT INTO {table} SELECT {listed} FROM arrays", constants)  # noqa: S608
    finally:
        connection.unregister("arrays")
