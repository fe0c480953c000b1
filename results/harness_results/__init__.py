"""Stored results and what is made from them: the store, tables, exports. A report never runs anything.

Nothing is imported here, so that asking for one part never loads another (SQLAlchemy and pandas are
slow to import).
"""
