"""The recurrent layers: kernels, loops and compiled graphs."""
