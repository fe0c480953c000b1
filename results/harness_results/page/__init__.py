"""The page of a report: one HTML file that opens without any connection. jinja2 and altair are imported on use."""
