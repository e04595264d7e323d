"""Training targets and loss of the detector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tiny_world.autoencoder import to_tensor
from tiny_world.detector_model import GRID, SIZE_UNIT, STRIDE, Detector
from tiny_world.detector_scenes import Example, foreground
from tiny_world.vocabulary import SHAPES

SPREAD = 0.9
"""Standard deviation of a centre's bump, in grid cells."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the detector should say about a batch."""

    pictures: Tensor
    """float32 [B, 3, 64, 64]."""
    heat: Tensor
    """float32 [B, classes, 16, 16]; 1 at an object's cell, a bump around it."""
    box: Tensor
    """float32 [B, 4, 16, 16]; used where `inside` is 1."""
    inside: Tensor
    """float32 [B, 1, 16, 16]; 1 at an object's cell."""
    foreground: Tensor
    """float32 [B, 1, 64, 64]."""


def targets_of(examples: Sequence[Example]) -> Targets:
    """Write the labels of a batch as maps."""
    count = len(examples)
    heat = np.zeros((count, len(SHAPES), GRID, GRID), np.float32)
    box = np.zeros((count, 4, GRID, GRID), np.float32)
    inside = np.zeros((count, 1, GRID, GRID), np.float32)
    rows, columns = np.mgrid[:GRID, :GRID]
    for index, example in enumerate(examples):
        for label in example.labels:
            left, top, right, bottom = label.box
            x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
            column, row = min(int(x), GRID - 1), min(int(y), GRID - 1)
            bump = np.exp(-((columns - column) ** 2 + (rows - row) ** 2) / (2 * SPREAD**2))
            heat[index, label.shape] = np.maximum(heat[index, label.shape], bump)
            box[index, :, row, column] = (x - column, y - row, (right - left) / SIZE_UNIT, (bottom - top) / SIZE_UNIT)
            inside[index, 0, row, column] = 1
    return Targets(
        pictures=to_tensor([example.picture for example in examples]),
        heat=torch.from_numpy(heat),
        box=torch.from_numpy(box),
        inside=torch.from_numpy(inside),
        foreground=torch.from_numpy(np.stack([foreground(example) for example in examples]))[:, None],
    )


def detector_loss(detector: Detector, targets: Targets) -> Tensor:
    """Return focal loss of the centres + absolute error of the boxes + cross entropy of the foreground."""
    logits, box, ground = detector(targets.pictures)
    probability = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    at_centre = targets.heat == 1
    hit = -((1 - probability) ** 2) * probability.log()
    miss = -((1 - targets.heat) ** 4) * probability**2 * (1 - probability).log()
    objects = targets.inside.sum().clamp(min=1)
    centre_loss = torch.where(at_centre, hit, miss).sum() / objects
    box_loss = ((box - targets.box).abs() * targets.inside).sum() / objects
    total: Tensor = centre_loss + box_loss + F.binary_cross_entropy_with_logits(ground, targets.foreground)
    return total
