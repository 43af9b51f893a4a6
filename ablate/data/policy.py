"""Old name of `augment_policies`; a loose trick that imports it is keyed by its text."""

from ablate.data.augment_policies import *  # noqa: F403
