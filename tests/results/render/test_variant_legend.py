"""A table says which of its variants are this project's own code under the name of a framework."""

import pytest

from harness.contract import Record, Trial
from harness_results.page.content import tables
from harness_results.render.latex import to_latex
from harness_results.render.markup import to_html, to_markdown
from harness_results.render.terminal import plain_table
from harness_results.study.engines import FRAMEWORKS, OWN_CODE, variant_legend
from harness_results.study.tables.relative import relative

KERNEL = "this project's C kernel, called from"


def make(*engines, status="ok"):
    return [
        Record(
            Trial(backend=backend, variant=variant, task="copy", cell="lstm", length=50),
            status,
            figures={"tokens_per_second": 1e5, "step_seconds_median": 0.01},
        )
        for backend, _, variant in (engine.partition(":") for engine in engines)
    ]


@pytest.mark.parametrize(
    ("engines", "line"),
    [
        (["numpy:native"], [f"native: {KERNEL} NumPy"]),
        (
            ["jax:native", "numpy:native", "torch:native"],
            [f"native: {KERNEL} NumPy, PyTorch and JAX"],
        ),
        (["torch:native", "jax:native", "jax:native"], [f"native: {KERNEL} PyTorch and JAX"]),
        (["torch:library", "jax:scan", "numpy:vectorised", "numpy:loop", "flax:linen"], []),
        (["other:native", "torch:library"], []),  # of a plugin, which means something else by it
    ],
)
def test_the_line_names_the_frameworks_whose_rows_are_there(engines, line):
    assert variant_legend(make(*engines)) == line


def test_each_variant_is_told_once_and_in_one_line():
    (line,) = variant_legend(make("torch:fused", "torch:native", "jax:fused", "torch:library"))
    assert line == (
        f"native: {KERNEL} PyTorch · fused: this project's derived backward pass, "
        "in operations of PyTorch and JAX"
    )


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_the_line_stands_below_every_kind_of_table(status):
    records = make("torch:native", "torch:library", status=status)
    for text in (
        plain_table(records, width=200),
        to_markdown(records),
        to_html(records),
        to_latex(records),
    ):
        assert "C kernel, called from PyTorch" in text
    assert f"native: {KERNEL} PyTorch" in tables(records)[0]["notes"]
    (grid,) = relative(records, "torch:library")
    assert f"native: {KERNEL} PyTorch" in grid.notes


def test_all_that_the_line_speaks_of_are_variants_of_the_backends_here():
    from harness.cells import LSTM, MinLSTM
    from harness_jax import JaxBackend
    from harness_numpy import NumpyBackend
    from harness_torch import TorchBackend

    backends = {backend.name: backend for backend in (NumpyBackend(), TorchBackend(), JaxBackend())}
    assert set(backends) == set(FRAMEWORKS)
    variants = set()
    for backend in backends.values():
        variants |= {
            *backend.variants(LSTM()),
            *backend.variants(MinLSTM()),
            *backend.missing_variants(),
        }
    assert set(OWN_CODE) <= variants
