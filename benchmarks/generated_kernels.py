"""Compare training steps of two installations of the harness, such as before and after a change.

Workers of both installations are alive at once and take turns; each reports the processor time of
its steps. A third worker, of the first installation again, shows what the machine makes of two
equal programs.

    python benchmarks/generated_kernels.py OLD_PYTHON NEW_PYTHON [--engines numpy,torch,jax]

Prints one row per engine, variant, cell and size: the speed of the new over the old, and of the old
over itself, each the median over the rounds with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

CELLS = ("rnn", "rnn_relu", "lstm", "gru")
SIZES = ("128/32", "512/64", "100/1")
TIME_STEPS = 64
VOCABULARY = 50
ROUND_SECONDS = 0.03  # of one worker
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> None:
    """Compare, or be a worker."""
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--engines", default="numpy,torch,jax")
    parser.add_argument("--variants", default="", help="only these (by default: all but library)")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--rounds", type=int, default=150)
    options = parser.parse_args()
    print(f"{'engine':22} {'cell':9} {'size':>7}  {'new / old':>20}  {'old / old':>20}", flush=True)
    for engine in options.engines.split(","):
        for cell in options.cells.split(","):
            for size in options.sizes.split(","):
                for variant in variants(options.old, options.new, engine, cell, options.variants):
                    compare(options, engine, variant, cell, size)


def variants(old: str, new: str, engine: str, cell: str, wanted: str) -> list[str]:
    """Return the variants that both installations have, without those that run no kernel."""
    code = (
        "from harness.plugins import load_plugins; p = load_plugins(); import json;"
        f"print(json.dumps(p.backend({engine!r}).variants(p.cell({cell!r}))))"
    )
    lists = [
        json.loads(subprocess.check_output([python, "-P", "-c", code])) for python in (old, new)
    ]
    chosen = (
        wanted.split(",")
        if wanted
        else [v for v in lists[0] if v not in {"library", "loop", "deer"}]
    )
    return [variant for variant in chosen if all(variant in each for each in lists)]


def compare(options: argparse.Namespace, engine: str, variant: str, cell: str, size: str) -> None:
    """Print the row of one network."""
    arguments = ("--worker", engine, variant, cell, size)
    workers = [start(python, arguments) for python in (options.old, options.new, options.old)]
    try:
        steps = max(1, round(ROUND_SECONDS / min(ask(worker, 3) / 3 for worker in workers)))
        seconds: list[list[float]] = [[], [], []]
        for turn in range(options.rounds):
            for at in range(3):
                which = (turn + at) % 3
                seconds[which].append(ask(workers[which], steps))
        old, new, again = seconds
        name = f"{engine}:{variant}"
        print(
            f"{name:22} {cell:9} {size:>7}  {ratio(old, new):>20}  {ratio(old, again):>20}",
            flush=True,
        )
    finally:
        for worker in workers:
            worker.stdin.close()
            worker.wait()


def start(python: str, arguments: Sequence[str]) -> Any:
    """Start a worker on one thread."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    command = [python, __file__, *arguments]
    worker: Any = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    if worker.stdout.readline().strip() != "ready":
        raise SystemExit(f"a worker failed: {' '.join(command)}")
    return worker


def ask(worker: Any, steps: int) -> float:
    """Return the processor seconds that a worker takes for some steps."""
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def ratio(old: Sequence[float], new: Sequence[float]) -> str:
    """Return the median over the rounds of old / new seconds, with its 95 % interval."""
    ratios = sorted(a / b for a, b in zip(old, new, strict=True))
    count = len(ratios)
    reach = 0.98 * count**0.5  # of ranks: the binomial interval of a median
    low = ratios[max(0, int(count / 2 - reach))]
    high = ratios[min(count - 1, int(count / 2 + reach))]
    return f"{ratios[count // 2]:.3f} [{low:.3f}, {high:.3f}]"


def work(engine: str, variant: str, cell_name: str, size: str) -> None:
    """Train on request: read a number of steps, write the processor seconds."""
    import numpy as np

    from harness.contract import Batch, Execution, Inputs, Model, Optimizer
    from harness.measure.proof.initialise import initial_parameters
    from harness.plugins import load_plugins

    plugins = load_plugins()
    backend, cell = plugins.backend(engine), plugins.cell(cell_name)
    hidden, batch_size = map(int, size.split("/"))
    model = Model(cell, Inputs("token", VOCABULARY), hidden, 1, VOCABULARY, "cross_entropy")
    execution = Execution(variant=variant, device="cpu", dtype="float32", threads=1)
    if engine == "torch":
        import torch

        torch.set_num_threads(1)
    trainer = backend.trainer(
        model, Optimizer("adam", 1e-3), initial_parameters(model, 0), execution
    )
    rng = np.random.default_rng(0)
    tokens = rng.integers(VOCABULARY, size=(TIME_STEPS + 1, batch_size), dtype=np.int32)
    mask = np.ones((TIME_STEPS, batch_size), np.bool_)
    batch = trainer.put(Batch(tokens[:-1], tokens[1:], mask))
    trainer.compile(batch)
    for _ in range(5):
        trainer.train_step(batch)
    trainer.synchronize()
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.process_time()
        for _ in range(int(line)):
            result = trainer.train_step(batch)
        float(result.loss)
        trainer.synchronize()
        print(time.process_time() - begin, flush=True)


if __name__ == "__main__":
    main()
