"""Old name of `ablate.tricks.file_params`; a loose trick that imports it is keyed by its text."""

from ablate.tricks.file_params import *  # noqa: F403
