"""Numbers that look random but depend on their key alone: the same on every machine, in every process."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def stable_hash(*parts: object) -> int:
    """Return 64 bits that depend on the text of `parts` alone (BLAKE2b); Python's own hash differs by process."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def mix(*keys: NDArray[np.uint64] | int) -> NDArray[np.uint64]:
    """Return 64 well-mixed bits for each row of the keys (arrays of one length, or single numbers).

    The finalizer of SplitMix64 (Steele, Lea and Flood, 'Fast splittable pseudorandom number generators', 2014).
    """
    state: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = (state ^ np.asarray(key, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in [0, 1) from the upper 53 of 64 bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
