"""Snapshots of training: written while a trial runs, and read to go on from one."""
