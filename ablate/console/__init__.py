"""What a person sees while something runs: live view, log view, JSON events, progress.

Imports `session` and below; `cli` and `api` show with it.
"""
