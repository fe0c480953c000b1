"""The profile of a cell: what it computes, keeps and learns, how fast it is, and the proof."""
