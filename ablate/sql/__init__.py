"""One read-only statement over the index, and the report's differences as a view of it.

Imports `session`, `report`, `index` and below. Not called `query`: that is a function of `ablate`.
"""
