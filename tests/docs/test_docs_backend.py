"""The code of docs/writing-a-*.md is the module that ``harness new`` writes, and it conforms."""

import re
from types import ModuleType

import pytest

import paths
from harness.plugins import load_plugins
from harness.scaffold import rendered
from harness.testing import (
    checks_for_backend,
    checks_for_cell,
    checks_for_probe,
    checks_for_task,
    run_check,
)

DOCS = paths.DOCS
PAGES = {"backend": "tortoise", "task": "echo", "cell": "integrator", "probe": "dimension"}


def python_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def page(kind):
    module, _, tests = (
        (DOCS / f"writing-a-{kind}.md").read_text(encoding="utf-8").partition("## The tests")
    )
    return "\n".join(python_blocks(module)), python_blocks(tests)


def lines(code):
    return [line for line in code.splitlines() if line.strip()]


def executed(kind):
    module = ModuleType(f"harness_{PAGES[kind]}")
    exec(compile(page(kind)[0], f"writing-a-{kind}.md", "exec"), vars(module))
    return module


def conformance_checks():
    """Return the checks of what the four pages build."""
    numpy = load_plugins().backend("numpy")
    [backend] = executed("backend").harness_backends()
    [task] = executed("task").harness_tasks()
    [cell] = executed("cell").harness_cells()
    [probe] = executed("probe").harness_probes()
    return [
        *checks_for_backend(backend, numpy),
        *checks_for_task(task, constant_baseline=True),
        *checks_for_cell(cell, backend),
        *checks_for_probe(probe),
    ]


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_shows_the_whole_module_of_the_template(kind):
    name = PAGES[kind]
    assert lines(page(kind)[0]) == lines(rendered(kind, name)[f"harness_{name}/__init__.py"])


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_shows_the_test_of_the_template(kind):
    name = PAGES[kind]
    assert rendered(kind, name)[f"tests/test_harness_{name}.py"].startswith(page(kind)[1][0])


@pytest.mark.slow
@pytest.mark.parametrize("check", conformance_checks(), ids=lambda check: check.label)
def test_the_code_of_the_page_conforms(check):
    result = run_check(check)
    if result.skipped:
        pytest.skip(result.message)
    assert result.passed, result.message
