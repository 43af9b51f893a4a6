"""Tricks for ablate, as a package of a third party."""
