"""Run the commands of ``first-minutes.md`` and paste what they print: ``python docs/make_tour.py``.

Below a command, ``<!-- output -->`` marks the block that its standard output takes; ``<!-- output:
8 lines -->`` only so many, ``<!-- output: from "curves", 5 lines -->`` from the first line on that
begins so.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parent / "first-minutes.md"
COMMAND = re.compile(r"```bash\n(?P<command>.*?)```\n", re.DOTALL)
OUTPUT = re.compile(
    r'(?P<mark><!-- output(?:: (?:from "(?P<start>[^"]+)")?(?:, )?(?:(?P<lines>\d+) lines)?)?'
    r" -->\n)```text\n(?P<output>.*?)```\n",
    re.DOTALL,
)
ENDINGS = (0, 3, 4)  # a table with a failure, and a verdict of "slower", are answers too


def main() -> None:
    """Write the page anew."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(retold(PAGE.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


def retold(page: str, folder: Path) -> str:
    """Return the page with the present output of every command, all run in one folder."""
    pieces, end = [], 0
    for match in COMMAND.finditer(page):
        lines = [line for line in match["command"].splitlines() if line.startswith("harness ")]
        output = "".join(_run(line, folder) for line in lines)
        pieces.append(page[end : match.end()])
        end = match.end()
        block = OUTPUT.search(page, end)
        following = COMMAND.search(page, end)
        if block and (following is None or block.start() < following.start()):
            shown = excerpt(output, block["start"], int(block["lines"] or 0))
            pieces.append(page[end : block.start()] + f"{block['mark']}```text\n{shown}```\n")
            end = block.end()
    return "".join([*pieces, page[end:]])


def _run(line: str, folder: Path) -> str:
    sys.stderr.write(f"{line}\n")
    arguments = shlex.split(line, comments=True)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        text=True,
        check=False,
        capture_output=True,
    )
    if done.returncode not in ENDINGS:
        raise SystemExit(f"{line}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def excerpt(output: str, start: str | None, count: int) -> str:
    """Return ``count`` lines (0: all) from the first that begins with ``start``, and ``...``."""
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    first = (
        next((n for n, line in enumerate(lines) if line.startswith(start)), None) if start else 0
    )
    if first is None:
        raise SystemExit(f"no line of the output begins with {start!r}:\n{output}")
    shown = lines[first : first + count if count else None]
    before, after = ["..."] * bool(first), ["..."] * (first + len(shown) < len(lines))
    return "\n".join([*before, *shown, *after]) + "\n"


if __name__ == "__main__":
    main()
