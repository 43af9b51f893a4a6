"""Old name of `ablate.core.hook_types`; a loose trick that imports it is keyed by its text."""

from ablate.core.hook_types import *  # noqa: F403
