"""Statistics of launches: medians, intervals, noise floors, and which engine is faster."""
