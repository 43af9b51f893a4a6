"""What ablate is measured against, each written by hand from what it is known to do."""
