"""Keeps how long each stage has run, summed over resumed runs, for the model card."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "timings.json"


def read_timings(cache: Path) -> dict[str, float]:
    """Return the seconds spent by stage."""
    path = cache / FILE
    timings: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    return timings


@contextmanager
def timed(cache: Path, stage: str, *, restart: bool = False) -> Iterator[None]:
    """Add the block's wall time to the stage's total, or replace the total with it."""
    started = time.monotonic()
    try:
        yield
    finally:
        timings = read_timings(cache)
        before_s = 0.0 if restart else timings.get(stage, 0.0)
        timings[stage] = before_s + time.monotonic() - started
        cache.mkdir(parents=True, exist_ok=True)
        (cache / FILE).write_text(json.dumps(timings, indent=1) + "\n")
