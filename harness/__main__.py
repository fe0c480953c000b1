"""The entrance of ``harness`` and ``python -m harness``: a signal while the command line loads is no traceback.

SIGTERM, and SIGHUP where there are terminals to hang up, do as Ctrl-C until a run takes them.
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
    heeded = [
        number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN
    ]  # not by nohup, or with &
    for number in heeded:
        signal.signal(number, _leave)
    from harness.cli.main import main as command_line

    for number in heeded:
        signal.signal(number, signal.default_int_handler)
    command_line()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End at once: nothing has begun."""
    with contextlib.suppress(OSError):  # a terminal that has hung up
        os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
