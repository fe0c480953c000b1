"""Records at rest: the store, its runs, merging and checking."""
