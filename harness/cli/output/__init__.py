"""What the command line writes: results, tables, pages and pictures."""
