"""A study made ready on this machine, run in stages, looked up, verified, trained again.

Imports `planning`, `report`, `execution`, `design` and below; prints nothing.
"""
