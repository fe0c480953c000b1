"""The formats of ``harness report``."""

TEXTS = ("markdown", "latex", "csv", "json")
PARQUET = "parquet"
PICTURES = ("png", "svg")
FORMATS = ("table", *TEXTS, PARQUET, "html", *PICTURES)
