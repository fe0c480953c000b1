"""Tables and records as terminal text, Markdown, HTML, LaTeX, CSV, JSON and Parquet."""
