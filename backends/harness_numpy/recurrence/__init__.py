"""The recurrent layers: loops, input projections, tuned cells and their memory."""
