"""A chart as PNG or SVG, by vl-convert: no browser, no connection."""

from __future__ import annotations

from typing import Any, Literal

from harness.contract.errors import UnavailableError
from harness_results.charts import CURE

Format = Literal["png", "svg"]
SCALE = 2.5  # pixels of a PNG per unit: 300 dots per inch at the width of a page


def picture(chart: Any, form: Format, scale: float = SCALE) -> bytes:
    """Return an altair chart as the bytes of a file; ``scale`` is for PNG.

    Raises:
        UnavailableError: vl-convert is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UnavailableError(f"pictures need vl-convert, which is not installed. Install it: {CURE}") from error
    from altair import SCHEMA_VERSION

    version = ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    asked: dict[str, Any] = {"vl_version": version, "allowed_base_urls": []}
    specification = chart.to_dict()
    if form == "svg":
        return vl_convert.vegalite_to_svg(specification, **asked).encode()
    return vl_convert.vegalite_to_png(specification, scale=scale, **asked)
