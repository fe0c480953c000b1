"""Formal languages and groups: what a recurrence is able to compute, at any length."""
