"""The formats of ``harness report``."""

TEXTS = ("markdown", "latex", "csv", "json", "jsonl")
PARQUET = "parquet"
PARQUET_NEEDS_FILE = "Parquet is not text: name a file with --output"
PICTURES = ("png", "svg")
FORMATS = ("table", *TEXTS, PARQUET, "html", *PICTURES)
