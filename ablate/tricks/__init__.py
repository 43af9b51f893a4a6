"""The base class of tricks, and finding, ordering, binding and checking them.

Imports `hookspecs`, `core` and below; names no trick.
"""
