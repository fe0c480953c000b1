"""``harness sample``: text from a stored checkpoint, drawn with the NumPy reference."""

from __future__ import annotations

import secrets
import sys

import rich_click as click

from harness.api import sample
from harness.cli.main import OK
from harness.cli.options.axes import store_option
from harness.cli.options.trial_id import not_empty
from harness.measure.sampling import LONGEST_TEXT
from harness.sweep.trained.checkpoints import checkpoint_of
from harness_results.text.format import safe


@click.command("sample")
@click.argument("trial", callback=not_empty)
@store_option
@click.option(
    "--length",
    "-n",
    type=click.IntRange(1, LONGEST_TEXT),
    default=500,
    show_default=True,
    help="Characters.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    help="p proportional to exp(logit / temperature); 0 takes the likeliest.",
)
@click.option("--prime", help="Text to start from.  [default: a line break]")
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="For the same text again.  [default: a new one each time]",
)
def command(
    trial: str, store: str, length: int, temperature: float, prime: str | None, seed: int | None
) -> int:
    """Draw text from the network that TRIAL (id, first digits, last, .safetensors file) trained."""
    checkpoint = checkpoint_of(trial, store)
    seed = secrets.randbits(31) if seed is None else seed
    text = sample(checkpoint, prime=prime, length=length, temperature=temperature, seed=seed)
    sys.stdout.write(safe((prime or "") + text) + "\n")
    return OK
