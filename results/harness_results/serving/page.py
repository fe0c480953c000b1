"""The served page: the page of the report, which reloads when the digest of its stores changes."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib.resources import files

from harness.contract.errors import HarnessError
from harness.contract.records.record import Record

POLICY = re.compile(r"""(<meta\s[^>]*Content-Security-Policy[^>]*\scontent=["'])""")
ALLOWED = "connect-src 'self'; "  # comes before the page's own rules, because the first rule counts
BODY_END = "</body>"
AGAIN_SECONDS = 3
STRICT = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
TEXT_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">{again}<title>{title}</title>
<style>:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
main {{ margin: 2rem }}</style></head>
<body><main><h1>{title}</h1><p>{text}</p></main></body></html>
"""


def live_page(
    records: Sequence[Record],
    names: str,
    digest: str,
    title: str | None = None,
    *,
    per_seed: bool = False,
) -> str:
    """Return the live page of these records.

    Args:
        records: of all stores.
        names: of the stores.
        digest: of the stores when the records were read.
        title: of the page; None names cells, tasks and lengths.
        per_seed: rows and lines for each seed, instead of medians over seeds.
    """
    if not records:
        text = "No trial has ended yet. The report appears here when a trial has ended."
        return live(_text_page(title or names, text), digest)
    from harness_results.page.build import page

    return live(page(records, title, stores=names, per_seed=per_seed), digest)


def waiting(title: str, text: str) -> str:
    """Return a page with a text that the browser loads again after some seconds."""
    again = f'<meta http-equiv="refresh" content="{AGAIN_SECONDS}">'
    return _text_page(title, f"{text} This page reloads by itself.", again)


def _text_page(title: str, text: str, again: str = "") -> str:
    return TEXT_PAGE.format(
        policy=STRICT, title=html.escape(title), text=html.escape(text), again=again
    )


def live(page: str, digest: str) -> str:
    """Return a page that reloads at its scroll position when the digest changes.

    Raises:
        HarnessError: the page has no policy or no end, so that the script cannot be added.
    """
    allowed, policies = POLICY.subn(lambda match: match[1] + ALLOWED, page, count=1)
    before, end, after = allowed.rpartition(BODY_END)
    if not policies or not end:
        raise HarnessError(
            "the page of the report has no content security policy, or no end: it is not served"
        )
    script = files("harness_results.serving").joinpath("live.js").read_text(encoding="utf-8")
    status = f'<div id="live" role="status" data-digest="{html.escape(digest)}">live</div>'
    return f"{before}{status}\n<script>\n{script}</script>\n{end}{after}"
