"""Old name of `ablate.core.trial`; a loose trick that imports it is keyed by its text."""

from ablate.core.trial import *  # noqa: F403
