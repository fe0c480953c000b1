"""The tables of one task before any renderer."""
