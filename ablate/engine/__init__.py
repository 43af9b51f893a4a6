"""One training in this process: `loop` on a screen, and its parts.

Imports `tricks`, `baseline`, `data`, `models` and below; knows no study, store or report.
"""
