"""What a table says: cells, comparisons, contrasts, notes and blocks, before any format."""
