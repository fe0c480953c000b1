"""Stored results and what is made from them: store, tables, exports. A report measures nothing.

Nothing is imported here: SQLAlchemy and pandas are slow to import, and not every part needs them.
"""
