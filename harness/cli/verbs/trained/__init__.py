"""The verbs that read a trained network."""
