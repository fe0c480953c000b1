"""Fixtures of the tests of executors."""

import os

import pytest

import paths
from harness.plugins import load_plugins


@pytest.fixture
def plugins(monkeypatch):
    """The plugins with ``faulty``, here and in workers."""
    path = os.pathsep.join([str(paths.FAULTY), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(paths.FAULTY)
    return load_plugins(block=("torch", "jax"))
