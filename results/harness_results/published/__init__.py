"""Published results beside measured ones: entries, the figures of records, and verdicts."""
