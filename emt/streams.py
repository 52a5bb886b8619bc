"""Random numbers as a pure function of what they are for.

Everything random in this project is drawn from ``stream(kind, seed, split, step)``: the same bytes whatever
was drawn before, in whichever process, whether a run was interrupted or not. Streams whose kind, seed, split
or step differ are independent (counter-based Philox, Salmon et al. 2011, keyed by a hash).
"""

import hashlib
from functools import lru_cache
from typing import Literal

import numpy as np

Split = Literal["train", "validation", "test"]


def stream(kind: str, seed: int, split: Split, step: int) -> np.random.Generator:
    """Return the generator for one purpose.

    Parameters
    ----------
    kind
        What is drawn, such as "bits" or "weights.recurrent".
    seed
        The member's seed.
    split
        Train, validation and test never share a stream.
    step
        Number of the batch (or another counter), at least 0.
    """
    return np.random.Generator(np.random.Philox(key=_key(kind, seed, split), counter=step << 128))


@lru_cache(maxsize=4096)
def _key(kind: str, seed: int, split: str) -> int:
    digest = hashlib.blake2b(f"{kind}\0{seed}\0{split}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little")
