"""Old name of `ablate.core.rng`; a loose trick that imports it is keyed by its text."""

from ablate.core.rng import *  # noqa: F403
from ablate.core.rng import stream_key as key  # noqa: F401
