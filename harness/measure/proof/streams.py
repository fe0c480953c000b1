"""Named random streams, one for each purpose: a change to one does not change the others."""

from __future__ import annotations

import hashlib

import numpy as np

WORDS_PER_NAME = 4  # 128 bits of the SHA-256 of each name


def seed_sequence(seed: int, *names: str) -> np.random.SeedSequence:
    """Return the seed sequence of the stream ``names``, the same on every platform and version.

    Args:
        seed: the root, 0 or above.
        names: a path of names, such as ``"model", "weight_hh_l0"``.
    """
    words: list[int] = []
    for name in names:
        digest = hashlib.sha256(name.encode()).digest()
        words += np.frombuffer(digest, dtype="<u4")[:WORDS_PER_NAME].tolist()
    return np.random.SeedSequence(entropy=seed, spawn_key=tuple(words))


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a PCG64 generator of the stream ``names`` under ``seed``."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, *names)))
