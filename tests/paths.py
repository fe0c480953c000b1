"""The folders that tests read."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DATA = TESTS / "data"
FAULTY = DATA / "faulty"  # a distribution of plugins that misbehave
BENCHMARKS = ROOT / "benchmarks"
DOCS = ROOT / "docs"
