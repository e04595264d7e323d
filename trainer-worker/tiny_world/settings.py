"""How long each stage trains by default; these are the lengths that made the shipped models."""

from typing import Final

AUTOENCODER_STEPS: Final = 2200
PRETRAIN_STEPS: Final = 7_800
DETECTOR_STEPS: Final = 1500
IMAGE_TEXT_STEPS: Final = 800
