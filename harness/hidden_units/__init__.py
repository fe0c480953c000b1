"""What the hidden units of a trained text network respond to."""
