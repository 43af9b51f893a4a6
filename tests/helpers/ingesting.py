"""A process that takes a store into its database over and over: `… STORE FLAG`.

It says in the file FLAG what it does: b"i" inside a transaction, b"r" while it makes the database
anew, else b"-".
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

from ablate.errors import AblateError


def main(store: Path, flag: Path) -> None:
    from ablate.index import database

    descriptor = os.open(flag, os.O_CREAT | os.O_RDWR, 0o644)

    def flagged(letter: bytes, act: Any) -> Any:
        def call(*arguments: Any) -> Any:
            before = os.pread(descriptor, 1, 0)
            os.pwrite(descriptor, letter, 0)
            try:
                return act(*arguments)
            finally:
                os.pwrite(descriptor, before, 0)

        return call

    os.pwrite(descriptor, b"-", 0)
    database.insert = flagged(b"i", database.insert)
    database._rebuild = flagged(b"r", database._rebuild)
    for turn in itertools.count(1):
        with contextlib.suppress(AblateError):  # another is at it
            database.ingest(store) if turn % 5 else database.reindex(store)
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
