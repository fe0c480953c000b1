"""The machine: environment record, load, and checks that the engine uses what was asked for."""
