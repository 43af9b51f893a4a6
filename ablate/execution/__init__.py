"""Trials in processes of their own: `runner` → `executor` → `trainer` → `trial_process`.

Imports `engine`, `store`, `index`, `study.model` and below; `session` decides what it trains.
"""
