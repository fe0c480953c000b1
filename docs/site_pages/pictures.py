"""The gallery page."""


def gallery() -> str:
    """Return the gallery as Markdown."""
    return ""
