"""Verbs that run suites, and report what was measured."""
