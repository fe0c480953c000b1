"""Tasks on texts: prediction of the next character, corpora, n-gram models."""
