"""The tests of ablate: folders have the names of its packages, `helpers` what they share."""
