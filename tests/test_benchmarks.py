"""The benchmark of verdicts fails where a verdict is wrong; what it measures is not tested here."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "verdicts.sh"
FAKE = """#!/bin/sh
case "$*" in
  run*) exit 0 ;;
  *"slowed:a slowed:b") exit {equal} ;;
  *"slowed:a slowed:slowed") exit {slowed} ;;
esac
exit 99
"""


@pytest.mark.parametrize(("equal", "slowed", "passes"), [(0, 4, True), (4, 4, False), (0, 0, False), (0, 5, False)])
def test_equal_code_that_is_called_slower_and_slow_code_that_is_not_fail(tmp_path, equal, slowed, passes):
    program = tmp_path / "harness"
    program.write_text(FAKE.format(equal=equal, slowed=slowed))
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STORE": str(tmp_path / "s.sqlite")}
    done = subprocess.run(["sh", SCRIPT], env=environment, capture_output=True, check=False)
    assert (done.returncode == 0) == passes
