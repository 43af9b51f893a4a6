"""Tricks: the base class, discovery through entry points, execution order and checked chains."""
