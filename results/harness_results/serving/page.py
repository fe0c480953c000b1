"""The page that is served: the report's own, which loads itself again when the digest of its stores changes."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib.resources import files

from harness.contract.errors import HarnessError
from harness.contract.records.record import Record

POLICY = re.compile(r"""(<meta\s[^>]*Content-Security-Policy[^>]*\scontent=["'])""")
ALLOWED = "connect-src 'self'; "  # comes before the page's own, and so counts
BODY_END = "</body>"
AGAIN_SECONDS = 3
STRICT = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
WAITING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">{again}<title>{title}</title>
<style>:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }} main {{ margin: 2rem }}</style></head>
<body><main><h1>{title}</h1><p>{told}</p></main></body></html>
"""


def live_page(records: Sequence[Record], names: str, digest: str) -> str:
    """Return the page of these records of the stores ``names``, as it was when the stores had this digest."""
    if not records:
        return live(
            _words(names, "No trial has ended yet. The report appears here when one has."), digest
        )
    from harness_results.page.build import page

    return live(page(records, names), digest)


def waiting(title: str, told: str) -> str:
    """Return a page of words that is asked for again after some seconds."""
    return _words(
        title,
        f"{told} This page asks again by itself.",
        f'<meta http-equiv="refresh" content="{AGAIN_SECONDS}">',
    )


def _words(title: str, told: str, again: str = "") -> str:
    return WAITING.format(
        policy=STRICT, title=html.escape(title), told=html.escape(told), again=again
    )


def live(page: str, digest: str) -> str:
    """Return a page that loads itself again, where it was, when the digest changes.

    Raises:
        HarnessError: it has no policy or no end, so that this cannot be added.
    """
    allowed, policies = POLICY.subn(lambda found: found[1] + ALLOWED, page, count=1)
    before, end, after = allowed.rpartition(BODY_END)
    if not policies or not end:
        raise HarnessError(
            "the page of the report has no content security policy, or no end: it is not served"
        )
    script = files("harness_results.serving").joinpath("live.js").read_text(encoding="utf-8")
    status = f'<div id="live" role="status" data-digest="{html.escape(digest)}">live</div>'
    return f"{before}{status}\n<script>\n{script}</script>\n{end}{after}"
