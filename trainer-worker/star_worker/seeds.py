"""Seeds of every random draw, derived from a root and a path so that no draw depends on batching or on other draws.

TypeScript has the same function; golden/seeds.json holds cases for both.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

_MASK = 2**63 - 1


def derive_seed(root: int, *path: int | str) -> int:
    """Return the seed 0..2^63-1 of `path` below `root`.

    It is the first 8 bytes (big-endian) of the SHA-256 of `star/1/<root>/<part>/<part>...` in ASCII, without the
    highest bit. A part that is not ASCII raises UnicodeEncodeError.
    """
    text = "/".join(["star", "1", str(root), *(str(part) for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") & _MASK


def seeded_normal(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return float32 [B, *shape] standard normal noise on the CPU, row b drawn from `seeds[b]` alone."""
    noise = torch.empty((len(seeds), *shape), dtype=torch.float32)
    generator = torch.Generator()
    for row, seed in zip(noise, seeds, strict=True):
        row.normal_(generator=generator.manual_seed(seed))
    return noise
