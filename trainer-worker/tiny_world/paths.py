"""Where the small world reads and writes."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
MODEL: Final = REPOSITORY / "models" / "tiny-world"
DETECTOR: Final = REPOSITORY / "scorers" / "tiny-world-detector"
IMAGE_TEXT: Final = REPOSITORY / "scorers" / "tiny-world-image-text"
CACHE: Final = REPOSITORY / ".cache" / "tiny-world"
"""Checkpoints and intermediate results; not under version control."""
