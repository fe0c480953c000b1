"""Options and arguments of the command line, and how their values are read."""
