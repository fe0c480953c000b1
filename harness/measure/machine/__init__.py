"""The machine: its environment, its load, and what the engine really uses."""
