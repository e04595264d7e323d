"""Seeds and orders that are the same on every machine."""

import hashlib
from collections.abc import Iterable


def derive_seed(*parts: object) -> int:
    """Derive a 63-bit seed from the parts' text; equal parts give equal seeds anywhere."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stable_order(items: Iterable[str], key: str) -> list[str]:
    """Shuffle texts by their hash: the order depends only on the texts and the key."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{key}/{item}".encode()).hexdigest())
