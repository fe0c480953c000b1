"""Tasks that a short program solves: copying and adding over a distance."""
