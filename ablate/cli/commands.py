"""Every command, registered by being imported, in the order of the help."""

from __future__ import annotations

from ablate.cli import init as init  # isort: skip
from ablate.cli import check as check  # isort: skip
from ablate.cli import plan as plan  # isort: skip
from ablate.cli import run as run  # isort: skip
from ablate.cli import status as status  # isort: skip
from ablate.cli import report as report  # isort: skip
from ablate.cli import diff as diff  # isort: skip
from ablate.cli import query as query  # isort: skip
from ablate.cli import export as export  # isort: skip
from ablate.cli import merge as merge  # isort: skip
from ablate.cli import verify as verify  # isort: skip
from ablate.cli import logs as logs  # isort: skip
from ablate.cli import reindex as reindex  # isort: skip
from ablate.cli import gc as gc  # isort: skip
from ablate.cli import tricks as tricks  # isort: skip
from ablate.cli import models as models  # isort: skip
from ablate.cli import datasets as datasets  # isort: skip
from ablate.cli import schema as schema  # isort: skip
from ablate.cli import doctor as doctor  # isort: skip
from ablate.cli.app import app

__all__ = ["app"]
