"""The entrance of ``harness`` and ``python -m harness``.

A signal while the command line loads gives no traceback. SIGTERM and SIGHUP act as Ctrl-C until a
run handles them.
"""

import contextlib
import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Load the command line and run it."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    # Nohup and & ignore a signal: it stays ignored.
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, _leave)
    from harness.cli.main import main as command_line

    for number in handled:
        signal.signal(number, signal.default_int_handler)
    command_line()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End at once: nothing has begun."""
    with contextlib.suppress(OSError):  # the terminal has closed
        os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
