"""Published results next to measured ones: entries, the figures of records, and verdicts."""
