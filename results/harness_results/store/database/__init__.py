"""The tables of a store, in SQLite or PostgreSQL."""
