"""Data sets, their decoded cache, augmentations and loaders."""
