"""`python -m ablate`: the same as the command `ablate`."""

from __future__ import annotations

import sys

from ablate.cli.main import main

sys.exit(main())
