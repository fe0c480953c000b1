"""Two sets of launches side by side: verdicts and gates."""
