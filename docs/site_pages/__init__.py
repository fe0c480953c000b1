"""Additions to the Markdown pages when the docs site is built."""
