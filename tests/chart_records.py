"""Records with curves for the tests of charts: several tasks, cells, engines and lengths."""

from dataclasses import replace

import numpy as np

from builders import trial_of
from harness.contract import Record

LENGTHS = (10, 20, 40)
ENGINES = {"numpy:loop": 1.0, "torch:library": 0.6, "jax:scan": 0.3}  # seconds per step, relative
HOSTILE = "</script><img src=x onerror=alert(1)> [bold] \x1b[31m =cmd() {{7*7}} \ud800\nT=3"


def flow(length, factor):
    norms = 2.0 * factor ** np.arange(length)
    series = {"median": norms.tolist(), "low": (0.5 * norms).tolist(), "high": (2 * norms).tolist()}
    below = np.flatnonzero(norms < 0.01 * norms[0])
    horizon = {
        "horizon": int(below[0]) if below.size else length,
        "censored": not below.size,
        "decay": factor,
    }
    return {"lags": list(range(length)), **series, "layers": [series["median"]], **horizon}


def curves(length, factor, steps, loss):
    training = (loss + 2 * np.exp(-np.arange(steps) / 10)).tolist()
    return {
        "loss": training,
        "gradient_norm": [1 / (1 + step) for step in range(steps)],
        "evaluations": [
            {"step": 0, "loss_validation": 2.3},
            {"step": steps, "loss_validation": loss},
        ],
        "gradient_flow": {"initial": flow(length, 0.6), "final": flow(length, factor)},
    }


def make(
    engine="numpy:loop",
    cell="lstm",
    length=20,
    task="adding",
    *,
    steps=60,
    status="ok",
    trial=None,
    **figures,
):
    asked = {"task": task, "cell": cell, "length": length, "steps": steps}
    asked |= {"batch": 4, "hidden": 8, "clip_norm": 1.0} | (trial or {})
    seconds = (1e-3 + 1e-4 * length) * ENGINES.get(engine, 1.0)
    factor, loss = (0.99, 1e-3) if cell == "lstm" else (0.7, 0.17)
    speed = 4 * length / seconds
    compiles = (
        {"compile_seconds": 0.5, "first_step_seconds": 2 * seconds} if engine == "jax:scan" else {}
    )
    usual = {
        "loss_validation": loss, "loss_baseline": 1 / 6, "loss_floor": 0.0, "loss_ratio": 6 * loss,
        "solved": loss < 0.01, "tokens_per_second": speed, "tokens_per_second_low": 0.9 * speed,
        "tokens_per_second_high": 1.2 * speed, "step_seconds_median": seconds,
        "first_step_seconds": seconds, "fraction_of_peak": 0.1, "fraction_of_serial_limit": 0.4,
        "gradient_decay": factor, "gradient_horizon": flow(length, factor)["horizon"],
        "peak_memory_bytes": 1_000_000 + 4096 * length, "parity_error": 1e-7 * length,
        "parity_tolerance": 1e-5, **compiles,
    }  # fmt: skip
    details = {"gradient_horizon_censored": flow(length, factor)["censored"]}
    return Record(
        trial_of(engine, **asked),
        status,
        figures=usual | figures,
        curves=curves(length, factor, steps, loss),
        details=details,
    )


def judged(record, *factors):
    """Return the record of a network that was judged at multiples of its length, too."""
    lengths = [factor * record.trial.length for factor in factors]
    sets = [
        {
            "name": f"T={at}",
            "length": at,
            "loss_validation": 0.1,
            "loss_ratio": 0.6,
            "solved": False,
        }
        for at in lengths
    ]
    trial = record.trial.model_copy(update={"evaluate_at": tuple(lengths)})
    over_training = [
        {**each, "step": step, "loss_ratio": 0.6 + 0.4 / (1 + step)}
        for step in (0, 10, 20)
        for each in sets
    ]
    return replace(
        record,
        trial=trial,
        details={**record.details, "evaluation_sets": sets},
        curves={**record.curves, "evaluation_sets": over_training},
    )


def with_probes(record):
    """Return the record of a network that probes measured, at the end and over training."""
    lags = list(range(record.trial.length // 2))
    kept = [0.9**lag for lag in lags]
    curve = {"along": "lag_steps", "at": lags, "values": kept}
    over_training = {"along": "training_step", "at": [0, 10, 20, 40, 60]}
    exponents = {**over_training, "values": [-0.5, -0.4, -0.2, None, -0.01]}
    probes = {
        "memory": {"figures": {"capacity": sum(kept)}, "curves": {"kept": curve}},
        "latent": {"figures": {"accuracy": None, "r2": 0.75, "chance_r2": 0.25}},
        "lyapunov": {
            "figures": {"exponent_per_step": -0.01},
            "over_training": {"exponent_per_step": exponents},
        },
    }
    return replace(record, details={**record.details, "probes": probes})


def sweep():
    return [
        with_probes(judged(make(engine, cell, length, task), 2, 4))
        for task in ("adding", "copy")
        for cell in ("rnn", "lstm")
        for length in LENGTHS
        for engine in ENGINES
    ]
