"""Plain data that the parts hand on: recipe, trial, resolved study, hook values, metrics, streams.

Imports `stats`, `util` and `errors`; no torch, no disk.
"""
