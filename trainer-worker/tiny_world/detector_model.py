"""The detector: a small convolutional network that marks centres of objects (CenterNet), and its ONNX form.

The exported graph takes raw pictures and gives finished objects: normalisation, peak picking and the choice of the
best 16 are part of the graph.
"""

from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiny_world.vocabulary import PICTURE_SIZE, SHAPES

STRIDE: Final = 4
GRID: Final = PICTURE_SIZE // STRIDE
MAX_OBJECTS: Final = 16
PEAK_WINDOW: Final = 5
"""A centre must be the best in a window of this many grid cells (20 pixels: objects are further apart)."""
SIZE_UNIT: Final = 16.0
"""Box sides are predicted in units of this many pixels."""
WIDTH: Final = 48
RARE: Final = -3.0
"""Initial logit of a centre: most cells hold none."""
MIN_SCORE: Final = 0.05
"""Weaker peaks are empty slots."""


def _block(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Detector(nn.Module):
    """Maps pictures float [B, 3, 64, 64] in -1..1 to centre, box and foreground maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(3, 16)
        self.early = nn.Sequential(_block(16, 32, stride=2), _block(32, 32))
        self.quarter = _block(32, WIDTH, stride=2)
        self.context = nn.ModuleList([_block(WIDTH, WIDTH, dilation=dilation) for dilation in (1, 2, 1, 2)])
        marks = nn.Conv2d(WIDTH, len(SHAPES), 1)
        nn.init.constant_(cast(Tensor, marks.bias), RARE)
        self.center = nn.Sequential(_block(WIDTH, WIDTH), marks)
        self.box = nn.Sequential(_block(WIDTH, WIDTH), nn.Conv2d(WIDTH, 4, 1))
        self.coarse_foreground = nn.Conv2d(WIDTH, STRIDE * STRIDE, 1)
        self.fine_foreground = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [B, classes, 16, 16], boxes [B, 4, 16, 16] and foreground logits [B, 1, 64, 64].

        The four box channels are the centre's offset in its grid cell (x, y; 0..1) and width and height / 16.
        """
        fine = self.stem(pictures)
        features = self.quarter(self.early(fine))
        for block in self.context:
            features = features + block(features)
        foreground = F.pixel_shuffle(self.coarse_foreground(features), STRIDE) + self.fine_foreground(fine)
        return self.center(features), self.box(features), foreground


class DetectorGraph(nn.Module):
    """The detector as it is exported: pictures in, at most 16 objects out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("positions", torch.arange(PICTURE_SIZE).float() + 0.5)
        self.positions: Tensor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map uint8 [B, 64, 64, 3] to (boxes [B, 16, 4], scores [B, 16], classes [B, 16], masks [B, 16, 64, 64])."""
        pixels = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        logits, box, foreground = self.detector(pixels)
        best, labels = logits.sigmoid().max(1)
        highest = F.max_pool2d(best[:, None], PEAK_WINDOW, 1, PEAK_WINDOW // 2)[:, 0]
        peaks = torch.where((best >= highest) & (best > MIN_SCORE), best, torch.zeros_like(best))
        scores, cells = peaks.flatten(1).topk(MAX_OBJECTS, dim=1)
        classes = labels.flatten(1).gather(1, cells)
        x, y, width, height = (box.flatten(2)[:, channel].gather(1, cells) for channel in range(4))
        column, row = (cells % GRID).float(), torch.div(cells, GRID, rounding_mode="floor").float()
        center_x, center_y = (column + x) * STRIDE, (row + y) * STRIDE
        half_width, half_height = width * SIZE_UNIT / 2, height * SIZE_UNIT / 2
        corners = [center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height]
        boxes = torch.stack(corners, -1).clamp(0, PICTURE_SIZE) * (scores > 0).float()[..., None]
        return boxes, scores, classes, self._masks(boxes, foreground)

    def _masks(self, boxes: Tensor, foreground: Tensor) -> Tensor:
        """Restrict the foreground probability to each box, a pixel wider on all sides."""
        left, top, right, bottom = (boxes[..., side, None] for side in range(4))
        inside_x = ((self.positions > left - 1) & (self.positions < right + 1)).float()
        inside_y = ((self.positions > top - 1) & (self.positions < bottom + 1)).float()
        filled = (right > left).float()[..., None]
        return foreground.sigmoid() * inside_y[..., :, None] * inside_x[..., None, :] * filled


def export_onnx(detector: Detector, path: str) -> None:
    """Write the graph with a free batch size."""
    graph = DetectorGraph(detector).eval()
    outputs = ["boxes", "scores", "classes", "masks"]
    torch.onnx.export(
        graph,
        (torch.zeros(2, PICTURE_SIZE, PICTURE_SIZE, 3, dtype=torch.uint8),),
        path,
        input_names=["image"],
        output_names=outputs,
        dynamic_axes={name: {0: "n"} for name in ("image", *outputs)},
        opset_version=17,
        dynamo=False,
    )
