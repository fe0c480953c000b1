"""How many time steps a chunk of checkpointed BPTT has."""

import pytest

from harness.contract import Execution


@pytest.mark.parametrize(
    ("checkpoint", "steps", "chunk"),
    [
        ("off", 65_536, None),
        ("auto", 128, None),
        ("auto", 129, 128),
        ("auto", 16_384, 128),
        ("auto", 65_536, 256),
        ("auto", 65_537, 257),
        (7, 100, 7),
        (100, 7, 7),
    ],
)
def test_auto_takes_the_root_of_the_length_but_no_short_chunks(checkpoint, steps, chunk):
    assert Execution("any", checkpoint=checkpoint).chunk(steps) == chunk
