"""Every stored form of the columns, by name: stores, files and scripts of others read them."""

import io

import pytest

from harness.contract import COLUMNS, Record, Trial
from harness_results.compare.gate import METRICS
from harness_results.render.flat import FLAT_COLUMNS, to_csv, write_csv
from harness_results.render.parquet import write_parquet
from harness_results.results import Results

NAMES = """
trial_id backend variant task cell length layers hidden batch steps optimizer learning_rate
clip_norm seed dtype device threads status reason parameters loss_initial loss_final loss_validation
loss_baseline loss_floor loss_ratio accuracy solved steps_to_solve tokens_per_second
tokens_per_second_low tokens_per_second_high step_seconds_median first_step_seconds compile_seconds
flops_per_second fraction_of_peak fraction_of_serial_limit gradient_norm_first gradient_norm_median
gradient_norm_max gradient_norm_last clipped_fraction gradient_horizon gradient_decay
peak_memory_bytes parity_error parity_tolerance environment_id started_at harness_version launches
interval python settings gradient_horizon_censored deviation loss_baseline_exact solved_lost_at
scores gradient_horizon_step gradient_exploding evaluation_sets seconds_to_solve probes
""".split()  # noqa: SIM905 (a table of words)
INTEGERS = """
run_id launch length layers hidden batch steps seed threads launches gradient_horizon_step
""".split()  # noqa: SIM905 (a table of words)
BOOLEANS = ["solved", "gradient_horizon_censored", "gradient_exploding"]
FLOATS = """
parameters loss_initial loss_final loss_validation loss_baseline loss_floor loss_ratio accuracy
steps_to_solve tokens_per_second tokens_per_second_low tokens_per_second_high step_seconds_median
first_step_seconds compile_seconds flops_per_second fraction_of_peak fraction_of_serial_limit
gradient_norm_first gradient_norm_median gradient_norm_max gradient_norm_last clipped_fraction
gradient_horizon gradient_decay peak_memory_bytes parity_error parity_tolerance loss_baseline_exact
solved_lost_at seconds_to_solve
""".split()  # noqa: SIM905 (a table of words)
UNGATED = {"parameters", "loss_baseline", "loss_floor", "parity_tolerance", "gradient_decay"}
TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="gru", length=5, clip_norm=1.0)
RECORD = Record(TRIAL, "ok", figures={"solved": True})


def test_the_columns_keep_their_names_and_order():
    assert list(COLUMNS) == NAMES
    assert list(RECORD.columns()) == NAMES


def test_the_header_of_a_csv_file_is_the_columns():
    assert to_csv([]) == ",".join(NAMES) + "\n"
    file = io.StringIO()
    write_csv([], file)
    header = ",".join(["run_id", "launch", *NAMES, "trial", "details", "environment"])
    assert file.getvalue() == header + "\n"


def test_the_columns_of_a_parquet_file_keep_their_types():
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = io.BytesIO()
    write_parquet([], file, (*FLAT_COLUMNS, "curves"))
    schema = parquet.read_schema(io.BytesIO(file.getvalue()))
    assert schema.names == [*FLAT_COLUMNS, "curves"]
    types = {str(field.type): [] for field in schema}
    for field in schema:
        types[str(field.type)].append(field.name)
    assert types.keys() == {"int64", "double", "bool", "string"}
    assert sorted(types["int64"]) == sorted(INTEGERS)
    assert sorted(types["bool"]) == sorted(BOOLEANS)
    assert sorted(types["double"]) == sorted([*FLOATS, "learning_rate", "clip_norm"])


def test_the_columns_of_a_data_frame_keep_their_types():
    pytest.importorskip("pandas")
    types = Results([RECORD]).to_pandas().dtypes.astype(str)
    assert [name for name in NAMES if types[name] == "boolean"] == BOOLEANS
    assert [name for name in NAMES if types[name] == "Int64"] == ["gradient_horizon_step"]
    floats = [name for name in NAMES if types[name] == "float64"]
    assert floats == sorted([*FLOATS, "learning_rate", "clip_norm"], key=NAMES.index)


def test_figures_that_a_gate_compares():
    figures = [name for name in NAMES if name in FLOATS or name == "solved"]
    readings = {"loss_baseline_exact", "solved_lost_at", "seconds_to_solve"}
    names = [name for name in figures if name not in UNGATED | readings]
    assert list(METRICS) == ["throughput", *names]
