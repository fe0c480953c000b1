"""Real-valued signals: images read bit by bit, and series to forecast."""
