"""What belongs to a trained network of a store: its checkpoint, and its probes."""
