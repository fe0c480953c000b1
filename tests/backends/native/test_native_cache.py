"""The folder for compiled code: the user's own, and nobody else may write to it."""

import os
import stat
from pathlib import Path

import pytest

from harness.contract import UnavailableError
from harness_native import cache
from harness_native.cache import known_folder, private_folder


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """A new home and a new folder for temporary files."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "home" / ".cache").mkdir(parents=True, mode=0o755)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def in_home(places):
    return places / "home" / ".cache" / "rnn-harness" / "native"


def in_temporary(places):
    return places / "tmp" / f"rnn-harness-native-{os.getuid()}"


def test_it_is_in_the_cache_of_the_home_and_closed_to_others(places):
    folder = private_folder("native")
    assert folder == in_home(places)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert known_folder("native") == folder


def test_an_ordinary_cache_and_an_open_umask_are_no_hindrance(places):
    (places / "home" / ".cache").chmod(0o775)
    before = os.umask(0)
    try:
        assert private_folder("native") == in_home(places)
    finally:
        os.umask(before)
    assert stat.S_IMODE(in_home(places).stat().st_mode) == 0o700


def test_asking_makes_nothing(places):
    assert known_folder("native") is None
    assert not list((places / "tmp").iterdir())
    assert not list((places / "home" / ".cache").iterdir())


def test_where_there_is_no_folder_for_temporary_files_either_there_is_none(places, monkeypatch):
    def refuse():
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(cache.tempfile, "gettempdir", refuse)
    in_home(places).mkdir(parents=True)
    in_home(places).chmod(0o777)
    assert known_folder("native") is None
    with pytest.raises(
        UnavailableError, match=rf"write to \(tried: {in_home(places)}\). Fix: set XDG_CACHE_HOME"
    ):
        private_folder("native")


def test_where_there_is_neither_a_home_nor_a_temporary_folder_none_is_named(monkeypatch):
    monkeypatch.setattr(cache, "_folders", lambda name: iter(()))
    with pytest.raises(
        UnavailableError, match=r"that this user alone can write to\. Fix: set XDG_CACHE_HOME"
    ):
        private_folder("native")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_to_is_not_used(mode, places):
    in_home(places).mkdir(parents=True)
    in_home(places).chmod(mode)
    assert known_folder("native") is None
    assert private_folder("native") == in_temporary(places)


def test_a_folder_of_another_user_is_not_used(places, monkeypatch):
    private_folder("native")
    in_temporary(places).mkdir(mode=0o700)
    monkeypatch.setattr(cache.os, "getuid", lambda: in_home(places).stat().st_uid + 1)
    assert known_folder("native") is None
    with pytest.raises(
        UnavailableError, match=r"this user alone can write to(.|\n)*XDG_CACHE_HOME"
    ):
        private_folder("native")


def test_a_link_is_not_followed(places):
    (places / "other").mkdir(mode=0o700)
    in_home(places).parent.mkdir(parents=True)
    in_home(places).symlink_to(places / "other")
    assert private_folder("native") == in_temporary(places)


def test_without_a_home_it_is_among_the_temporary_folders_and_stays_there(places, monkeypatch):
    def homeless(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert private_folder("native") == in_temporary(places)
    assert private_folder("native") == known_folder("native")
    assert stat.S_IMODE(in_temporary(places).stat().st_mode) == 0o700
