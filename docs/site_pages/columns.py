"""The columns of a record as Markdown tables, made from their declarations."""

from __future__ import annotations

from harness.contract.records.columns import TABLE

TITLES = {"launches": "interval over launches", "reading": "further readings"}


def tables() -> str:
    """Return one table for each group of columns, in the order in which groups appear."""
    lines = []
    for group in dict.fromkeys(column.group for column in TABLE):
        title = TITLES.get(group, group).capitalize()
        lines += [f"**{title}**", "", "| column | unit | meaning |", "|---|---|---|"]
        for column in TABLE:
            if column.group == group:
                lines.append(f"| `{column.name}` | {column.unit or ''} | {column.says} |")
        lines.append("")
    return "\n".join(lines)
