"""The record of a trial: its columns, how it is read back, and the identity of what produced it."""
