"""What is on disk: attempts, journals, leases, checkpoints' places, studies as they were run.

Imports `core`, `util` and `errors`; no torch, no database.
"""
