"""Tasks that a short program solves: copying, adding and recall over a distance."""
