"""What to run: a request, a plan file or presets become a list of checked trials."""
