"""Discovery: a broken plugin is listed with reason and fix, and never stops the others."""

import re
import subprocess
import sys
from textwrap import dedent

import pytest

from harness.contract import UnavailableError, UnknownNameError
from harness.plugins import load_plugins

CELL = """
    from harness.cells.rnn import RNN
    from harness.contract import hookimpl

    class Mine(RNN):
        name = {name!r}

    @hookimpl
    def harness_cells():
        return [Mine()]
"""


def broken(name):
    [plugin] = [plugin for plugin in load_plugins().broken if plugin.name == name]
    return plugin


def test_a_plugin_is_found_with_its_distribution_and_what_it_offers(install):
    install("fake_good", CELL.format(name="mine"), entry_point="good")
    plugins = load_plugins()
    assert plugins.cell("mine").name == "mine"
    assert plugins.distribution_of("cell", "mine") == "fake-good 1.0"
    [loaded] = [plugin for plugin in plugins.loaded if plugin.name == "good"]
    assert loaded.offers == (("cell", "mine"),)


def test_one_plugin_may_offer_all_kinds(install):
    source = """
        from harness_numpy import NumpyBackend
        import harness_tasks as first_party
        from harness.cells.rnn import RNN
        from harness.contract import hookimpl

        class MyBackend(NumpyBackend):
            name = "my-backend"

        class MyTask(first_party.harness_tasks()[0]):
            name = "my-task"

        class MyCell(RNN):
            name = "my-cell"

        @hookimpl
        def harness_backends():
            return [MyBackend()]

        @hookimpl
        def harness_tasks():
            return [MyTask]

        @hookimpl
        def harness_cells():
            return (MyCell(),)
    """
    install("fake_all", source)
    plugins = load_plugins()
    assert plugins.backend("my-backend").name == "my-backend"
    assert plugins.task("my-task").name == "my-task"
    assert plugins.cell("my-cell").name == "my-cell"


HEAD = "from harness.contract import Product, hookimpl\nfrom harness.cells import RNN\n"
SUITE = "from harness.contract import Suite, hookimpl\n"
TASK = "from harness.contract import Task, hookimpl\nclass A(Task):\n    name = 'a'\n"
BROKEN = {
    "missing library": (
        "import no_such_library",
        "No module named 'no_such_library'",
        "'no_such_library'",
    ),
    "import error": (
        "raise RuntimeError('no licence')",
        "RuntimeError: no licence",
        "pip install --upgrade",
    ),
    "syntax error": ("def (", "SyntaxError: invalid syntax", "pip uninstall"),
    "exit at import": (
        "import sys; sys.exit(3)",
        r"it called sys.exit\(3\) while it was loaded",
        "pip uninstall",
    ),
    "exit in the hook": (
        HEAD + "@hookimpl\ndef harness_cells():\n    raise SystemExit('bye')",
        r"it called sys.exit\('bye'\)",
        "pip uninstall",
    ),
    "error in the hook": (
        HEAD + "@hookimpl\ndef harness_cells():\n    return 1 / 0",
        "ZeroDivisionError",
        "report it",
    ),
    "unknown hook": (
        HEAD + "@hookimpl\ndef harness_cell():\n    return [RNN()]",
        "a hook that the harness does not know.*harness_cell",
        "harness_backends, harness_tasks, harness_cells",
    ),
    "bad signature": (
        HEAD + "@hookimpl\ndef harness_cells(registry):\n    return [RNN()]",
        "with another signature.*registry",
        "harness_backends, harness_tasks, harness_cells",
    ),
    "taken name": (
        HEAD + "@hookimpl\ndef harness_cells():\n    return [RNN()]",
        "cell name 'rnn' is already taken",
        "pip uninstall",
    ),
    "no file": (
        SUITE + "@hookimpl\ndef harness_suites():\n    return [Suite('a', 'a.toml')]",
        "suite 'a': path must be that of a file, got 'a.toml'",
        "report it",
    ),
    "no file of a published result": (
        SUITE.replace("Suite", "Published")
        + "@hookimpl\ndef harness_published():\n    return [Published('a', 'a.toml')]",
        "published 'a': path must be that of a file, got 'a.toml'",
        "report it",
    ),
    "one name twice": (
        HEAD
        + "class A(RNN):\n    name = 'a'\n@hookimpl\ndef harness_cells():\n    return [A(), A()]",
        "it offers the same name twice: a, a",
        "report it",
    ),
    "bad name": (
        HEAD + "class A(RNN):\n    name = '<b>'\n@hookimpl\ndef harness_cells():\n    return [A()]",
        "cell name '<b>' is not allowed",
        "report it",
    ),
    "no name": (
        HEAD + "from harness.contract import Cell\n"
        "class A(Cell):\n    step = gates = None\n"
        "@hookimpl\ndef harness_cells():\n    return [A()]",
        "cell name None is not allowed",
        "report it",
    ),
    "no gates": (
        HEAD + "from harness.contract import Cell\n"
        "class A(Cell):\n    name = 'a'\n    step = None\n"
        "@hookimpl\ndef harness_cells():\n    return [A()]",
        "cell 'a': gates must be a tuple of different names, got None",
        "report it",
    ),
    "one state instead of a tuple": (
        HEAD + "class A(RNN):\n    name, states = 'a', 'h'\n"
        "@hookimpl\ndef harness_cells():\n    return [A()]",
        "cell 'a': states must be a tuple of different names, got 'h'",
        "report it",
    ),
    **{
        f"cell with {wrong}": (
            HEAD + f"class A(RNN):\n    name = 'a'\n    {wrong}\n"
            "@hookimpl\ndef harness_cells():\n    return [A()]",
            f"cell 'a': {wrong.split()[0]} must be",
            "report it",
        )
        for wrong in (
            "gates = 7",
            "matrix_states = ('S',)",
            "matrix_states = ('h',)",
            "matrix_states = 'h'",
            "gates = ()",
            "gates = ('a', 'a')",
            "gates = 'abc'",
            "states = None",
            "states = ('h', 1)",
            "states = ('h', 'class')",
            "states = ('h', '_c')",
            "gates = ('a b',)",
            "products = (Product('h h'),)",
            "products = None",
            "products = ('hh',)",
            "products = (Product('hh'), Product('hh'))",
            "products = (Product('ih'),)",
            "products = (Product('hh', ('f',)),)",
            "products = (Product('hh', 'h'),)",
            "vectors = 'u'",
            "vectors = ('u', 'u')",
            "vectors = ('learnt leak',)",
            "vectors = ('bias_hh',)",
            "memory_gate = 'z'",
            "input_gate = 3",
        )
    },
    "a class instead of an instance": (
        HEAD + "@hookimpl\ndef harness_cells():\n    return [RNN]",
        "harness_cells must return instances of Cell",
        "report it",
    ),
    "an instance instead of a class": (
        HEAD + "@hookimpl\ndef harness_tasks():\n    return [RNN()]",
        "harness_tasks must return subclasses of Task",
        "report it",
    ),
    "one entry instead of a list": (
        HEAD + "@hookimpl\ndef harness_cells():\n    return RNN()",
        "TypeError: 'RNN' object is not iterable",
        "report it",
    ),
    "a hook that returns nothing": (
        HEAD + "@hookimpl\ndef harness_cells():\n    [RNN()]",
        "harness_cells must return a list, got None",
        "report it",
    ),
    "no hook at all": (HEAD + "x = 1", "implements no hook of the harness", "report it"),
    "abstract task": (
        TASK + "@hookimpl\ndef harness_tasks():\n    return [A]",
        "task 'a' does not implement baseline, inputs,",
        "report it",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_listed_with_reason_distribution_and_fix(fault, install):
    source, reason, fix = BROKEN[fault]
    install("fake_broken", source, entry_point="broken", distribution="fake-dist")
    install("fake_good", CELL.format(name="mine"))
    plugin = broken("broken")
    assert plugin.distribution == "fake-dist 1.0"
    assert re.search(reason, plugin.reason, flags=re.DOTALL), plugin.reason
    assert fix in plugin.fix
    assert load_plugins().cell("mine").name == "mine"
    assert load_plugins().backend("numpy").name == "numpy"
    assert load_plugins().cell("rnn").name == "rnn"


def test_asking_for_a_broken_plugin_by_name_is_an_error_that_says_all(install):
    install("fake_broken", "import no_such_library", entry_point="broken", distribution="fake-dist")
    with pytest.raises(
        UnavailableError,
        match=r"'broken' \(from fake-dist 1.0\) is broken: .*no_such_library.*Fix: ",
    ):
        load_plugins().backend("broken")


def test_an_unknown_name_says_which_plugins_are_broken(install):
    source = dedent(CELL.format(name="mine")) + "\nMine.gates = ()\n"
    install("fake_broken", source, entry_point="broken", distribution="fake-dist")
    with pytest.raises(UnknownNameError, match=r"unknown cell 'mine'.*is broken: .*gates must be"):
        load_plugins().cell("mine")


def test_a_bad_entry_point_name_breaks_that_plugin(install):
    install("fake_bad", CELL.format(name="mine"), entry_point="b@d")
    assert "plugin name 'b@d' is not allowed" in broken("b@d").reason


def test_an_entry_point_to_nothing_breaks_that_plugin(install, tmp_path):
    install("fake_gone", "")
    (tmp_path / "fake_gone.py").unlink()
    assert "No module named 'fake_gone'" in broken("fake_gone").reason


def test_of_two_plugins_with_one_name_the_first_by_distribution_wins(install):
    install("fake_b", CELL.format(name="mine"), entry_point="b")
    install("fake_a", CELL.format(name="mine"), entry_point="a")
    plugins = load_plugins()
    assert plugins.distribution_of("cell", "mine") == "fake-a 1.0"
    assert "cell name 'mine' is already taken" in broken("b").reason


def test_nothing_of_a_plugin_is_taken_when_one_entry_is_refused(install):
    source = CELL.format(name="mine").replace("[Mine()]", "[Mine(), RNN()]")
    install("fake_half", source)
    with pytest.raises(UnknownNameError):
        load_plugins().cell("mine")


def test_a_blocked_plugin_is_not_even_imported(install):
    install("fake_blocked", "raise AssertionError('imported')", entry_point="blocked")
    plugins = load_plugins(block=["blocked"])
    assert "blocked" not in [plugin.name for plugin in plugins.broken]
    assert "fake_blocked" not in sys.modules
    with pytest.raises(UnavailableError, match="blocked by --plugin no:blocked"):
        plugins.backend("blocked")


def test_an_unknown_name_lists_the_nearest_and_where_to_see_all():
    with pytest.raises(
        UnknownNameError,
        match=r"unknown cell 'lsmt'\. Did you mean lstm or minlstm\?.*harness list cells",
    ):
        load_plugins().cell("lsmt")


def test_a_backend_without_its_library_is_known_but_not_usable(install):
    source = """
        from harness.contract import Missing, hookimpl
        from harness_numpy import NumpyBackend

        class Absent(NumpyBackend):
            name = "absent"
            def availability(self):
                return Missing("no_such_library is not installed", "pip install no-such-library")

        @hookimpl
        def harness_backends():
            return [Absent()]
    """
    install("fake_absent", source)
    plugins = load_plugins()
    assert plugins.backend("absent").name == "absent"
    with pytest.raises(
        UnavailableError,
        match=r"no_such_library is not installed\. Fix: pip install no-such-library",
    ):
        plugins.usable_backend("absent")


def test_loading_imports_no_framework():
    heavy = ("torch", "jax", "pandas", "scipy", "sqlalchemy")
    program = (
        "import sys; from harness.plugins import load_plugins; load_plugins(); "
        f"print(*sys.modules.keys() & {heavy})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_test_runners_skip_at_import_breaks_only_that_plugin(install):
    """``pytest.skip`` raises no ``Exception``; a plugin that imports its tests may call it."""
    install(
        "fake_skips",
        "import pytest\npytest.skip('not here', allow_module_level=True)",
        entry_point="skips",
    )
    assert "not here" in broken("skips").reason


def test_what_a_plugin_prints_while_it_loads_stays_off_stdout(install, capsys):
    install(
        "fake_chatty", "print('hello')" + dedent(CELL.format(name="chatty")), entry_point="chatty"
    )
    assert "chatty" in load_plugins().cells
    assert capsys.readouterr() == ("", "hello\n")
