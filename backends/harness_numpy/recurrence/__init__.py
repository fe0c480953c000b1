"""The recurrent layers: loops, input projections, code written for a cell, and memory."""
