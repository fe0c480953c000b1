"""Run the cells of ``notebooks/first.ipynb`` and keep their outputs.

Usage: ``python docs/make_notebook.py``. It needs the extra ``report``, and no Jupyter. Charts are
kept as PNG, which every viewer shows.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from harness_results.charts.picture import picture

NOTEBOOK = Path(__file__).parent / "notebooks" / "first.ipynb"
SCALE = 1.2  # pixels per unit of a chart
QUICK = ((re.compile(r"steps=\d+"), "steps=12"), (re.compile(r"hidden=\d+"), "hidden=8"))


def main() -> None:
    """Write the notebook anew."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        text = json.dumps(executed(notebook), indent=1, ensure_ascii=False)
    NOTEBOOK.write_text(text + "\n", encoding="utf-8")


def executed(notebook: dict[str, Any], *, quick: bool = False) -> dict[str, Any]:
    """Return the notebook with the outputs of its cells, run in order in the present folder.

    Args:
        notebook: as ``nbformat`` 4 stores it.
        quick: with a small network and a few steps.
    """
    names: dict[str, Any] = {}
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            for pattern, short in QUICK if quick else ():
                source = pattern.sub(short, source)
            number = sum(each["cell_type"] == "code" for each in cells) + 1
            outputs = _outputs(source, names, number)
            cells.append({**cell, "execution_count": number, "outputs": outputs})
        else:
            cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Run a cell; return what it printed, and the value of its last line if it has one."""
    *statements, last = ast.parse(source).body
    ends_in_value = isinstance(last, ast.Expr)
    body = ast.Module(statements if ends_in_value else [*statements, last], [])
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(body, f"cell {number}", "exec"), names)  # noqa: S102
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)  # noqa: S307
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(text)})
    if value is not None:
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
        outputs.append({**result, "data": _data(value)})
    return outputs


def _data(value: Any) -> dict[str, Any]:
    """Return a value by media type, as Jupyter would show it."""
    if type(value).__module__.startswith("altair"):
        png = base64.b64encode(picture(value, "png", SCALE)).decode()
        return {"image/png": png, "text/plain": [f"{type(value).__name__}(...)"]}
    data: dict[str, Any] = {"text/plain": _lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = _lines(value._repr_html_())
    return data


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    main()
