import subprocess
import sys
from pathlib import Path

import pytest

from harness.contract import accelerators, may_have_accelerator


@pytest.mark.parametrize(
    ("platform", "files", "answer"),
    [("linux", (), False), ("linux", (Path(__file__),), True), ("darwin", (), True)],
)
def test_no_is_said_only_on_linux_without_a_device_file(
    monkeypatch, tmp_path, platform, files, answer
):
    monkeypatch.setattr(accelerators.sys, "platform", platform)
    monkeypatch.setattr(accelerators, "DEVICE_FILES", (tmp_path / "absent", *files))
    assert may_have_accelerator() is answer


@pytest.mark.skipif(
    may_have_accelerator(), reason="a GPU can be here, so the frameworks must be asked"
)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_planning_on_a_machine_without_accelerator_imports_no_framework(tmp_path, name):
    code = (
        "import sys\nfrom harness.cli.main import _status\n"
        f"status = _status(['run', '-b', {name!r}, '-t', 'copy', '--dry-run'])\n"
        "loaded = {'torch', 'jax'} & set(sys.modules)\n"
        "assert status == 0 and not loaded, (status, loaded)"
    )
    pytest.importorskip(name)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
