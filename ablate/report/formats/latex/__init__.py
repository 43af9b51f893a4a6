"""LaTeX: tables for a paper, escaped, in packages that every distribution has."""
