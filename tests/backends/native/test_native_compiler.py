"""The choice of the C compiler, and its version."""

import re
import sys

import pytest

from harness.cells import LSTM
from harness.contract import Missing
from harness_native import compiler
from harness_native.compiler import Compiler, compilers, version_number
from harness_numpy import NumpyBackend


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """Only these programs on PATH, and no packaged compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compiler, "PACKAGE", "no-such-package")

    def make(*names):
        for name in names:
            (tmp_path / name).write_text(f"#!{sys.executable}\n# {name}\n")
            (tmp_path / name).chmod(0o755)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("cc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
        ("gcc-4.9 (Debian 4.9.2-10) 4.9.3", "4.9.3"),
        ("x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-4ubuntu3) 13.2.0", "13.2.0"),
        ("gcc (GCC) 13.2.1 20230801", "13.2.1"),
        ("Apple clang version 15.0.0 (clang-1500.1.0.2.5)", "15.0.0"),
        ("Debian clang version 14.0.6", "14.0.6"),
        ("clang version 19.1.7 (https://example.org/zig-bootstrap 1.2.3)", "19.1.7"),
        ("a compiler", "0"),
    ],
)
def test_the_version_is_the_compilers_own(line, number):
    assert version_number(line) == number


def test_the_usual_names_are_looked_for_in_order(on_path):
    folder = on_path("clang", "cc")
    assert [found.command for found in compilers()] == [
        (str(folder / "cc"),),
        (str(folder / "clang"),),
    ]


def test_one_program_of_two_names_is_one_compiler(on_path):
    folder = on_path("gcc")
    (folder / "cc").symlink_to(folder / "gcc")
    assert [found.command for found in compilers()] == [(str(folder / "cc"),)]


def test_the_packaged_compiler_comes_last(on_path, monkeypatch):
    folder = on_path("gcc")
    monkeypatch.setattr(compiler, "PACKAGE", "numpy")
    assert [found.command[0] for found in compilers()] == [str(folder / "gcc"), sys.executable]


def test_cc_comes_in_place_of_the_usual_names_and_its_options_make_another_compiler(
    on_path, monkeypatch
):
    folder = on_path("cc", "mine")
    monkeypatch.setenv("CC", "mine")
    [plain] = compilers()
    monkeypatch.setenv("CC", "mine -m64 '-DA=b c'")
    [found] = compilers()
    assert found.command == (str(folder / "mine"), "-m64", "-DA=b c")
    assert found.identity != plain.identity


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (" ", r"\$CC names no program: ' '"),
        ("gcc-that-is-not-there -O3", r"\$CC names no program: 'gcc-that"),
        ("cc '-DX", r"\$CC cannot be read \(No closing quotation\)"),
    ],
)
def test_a_cc_that_names_no_program_is_said_and_no_other_is_taken(
    value, reason, on_path, monkeypatch
):
    on_path("cc", "gcc")
    monkeypatch.setattr(compiler, "PACKAGE", "numpy")
    monkeypatch.setenv("CC", value)
    backend = NumpyBackend()
    assert "native" not in backend.variants(LSTM())
    missing = backend.missing_variants()["native"]
    assert re.match(reason, missing.reason)
    assert "unset it" in missing.fix
    assert "native" not in backend.versions()


def test_on_windows_the_platforms_are_named(monkeypatch):
    monkeypatch.setattr(compiler.sys, "platform", "win32")
    assert compilers() == Missing("the kernel is for Linux and macOS", "choose another variant")


def test_a_compiler_that_does_not_say_its_version_has_none():
    assert Compiler(("no-such-program",), "").version() == "0 (no-such-program)"
