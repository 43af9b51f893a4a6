"""DuckDB over what trials wrote; may be deleted at any time. Imports `store` and below."""
