"""Old name of `ablate.core.recipe`; a loose trick that imports it is keyed by its text."""

from ablate.core.recipe import *  # noqa: F403
