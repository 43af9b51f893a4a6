"""Data sets: catalogue, decoded caches, augmentation, and batches for CPU and GPU.

Imports `core` and below. `catalogue`, `builtin` and `fingerprint` need no torch.
"""
