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
