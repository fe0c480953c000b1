"""Numbers and untrusted words as short safe text; lines, grids and plots of text."""
