"""The model zoo, its handles for surgery, and deterministic initialisation.

`catalogue` knows the names and needs no torch; `build`, `surgery`, `init` and `describe` do, and
are imported where they are used.
"""
