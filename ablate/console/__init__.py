"""What a person at a terminal sees: streams, colour, symbols, tables, the live view."""
