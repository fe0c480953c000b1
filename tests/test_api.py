"""The Python entrance: what it refuses before any trial runs."""

import os

import pytest

import harness
from harness.contract import UsageError

TINY = {"task": "copy", "length": 3, "hidden": 4, "batch": 2, "steps": 2, "progress": False}


def test_a_folder_for_checkpoints_that_cannot_be_written_is_refused_before_any_trial_runs(tmp_path, monkeypatch):
    """The superuser may write anywhere, so the answer of the system is replaced."""
    folder = tmp_path / "store.sqlite.checkpoints"
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder)
    with pytest.raises(UsageError, match="checkpoints cannot be written: make it writable, or choose --store"):
        harness.run(store=tmp_path / "store.sqlite", **TINY)
    assert list(folder.iterdir()) == []
