"""Image files in the layouts in which data sets are published: folders, archives, records.

Imports `core` and below, nothing of `data` beside it.
"""
