"""Simulated tables with a known truth: do `ablate.stats`' intervals and verdicts keep their level?

Each part is a module with `simulate(rng, repeats)`, which yields figures. Tables are judged many at
a time by the closed form of a balanced table (`balanced`), which is compared with `ablate.stats` on
the first tables of every setting and raises where they differ.
"""
