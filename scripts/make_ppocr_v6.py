"""Writes the scorer bundle of PP-OCRv6 from the weights in the installed Python package `rapidocr` (3.10.0)."""

import argparse
import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

import onnx
import yaml

TEMPLATE = Path(__file__).resolve().parent.parent / "scorers/ppocr-v6/manifest.template.yaml"
WEIGHTS = {"detector.onnx": "PP-OCRv6_det_small.onnx", "recognizer.onnx": "PP-OCRv6_rec_small.onnx"}


def main() -> int:
    """Exit status 1 with a message when the package or its weights are not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the bundle")
    out: Path = parser.parse_args().out
    models = installed_models()
    missing = [name for name in WEIGHTS.values() if models is None or not (models / name).is_file()]
    if models is None or missing:
        print(f"error: rapidocr has no {', '.join(missing)}; pip install rapidocr==3.10.0", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    for name, original in WEIGHTS.items():
        shutil.copyfile(models / original, out / name)
    (out / "dictionary.txt").write_text(dictionary_of(out / "recognizer.onnx"), encoding="utf-8", newline="\n")
    write_manifest(out)
    print(f"wrote {out}")
    return 0


def installed_models() -> Path | None:
    """Folder with the weights, without importing the package, which would load its runtime."""
    spec = importlib.util.find_spec("rapidocr")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "models"


def dictionary_of(recognizer: Path) -> str:
    """Characters that the graph carries as metadata, one a line."""
    metadata = {entry.key: entry.value for entry in onnx.load(recognizer).metadata_props}
    return metadata["character"].rstrip("\n") + "\n"


def write_manifest(out: Path) -> None:
    """Puts the hashes of the files into the template."""
    manifest = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    for entry in (manifest["detector"]["graph"], manifest["recognizer"]["graph"], manifest["dictionary"]):
        entry["sha256"] = hashlib.sha256((out / entry["path"]).read_bytes()).hexdigest()
    (out / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
