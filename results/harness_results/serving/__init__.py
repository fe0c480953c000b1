"""Serves the page of a report on this machine while a sweep runs. Reads stores, writes nothing."""
