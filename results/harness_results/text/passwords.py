"""Hides the passwords of URLs in any text that is shown or stored."""

from __future__ import annotations

import re

_OF_USER = re.compile(r"(://[^\s:/?#@]*):[^\s/]*@")  # a password ends at the last @ before the path
_IN_QUERY = re.compile(r"([?&](?:password|passfile|sslpassword)=)[^&\s'\"]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """Return ``text`` with ``***`` for every password in a URL."""
    return _IN_QUERY.sub(r"\1***", _OF_USER.sub(r"\1:***@", text))
