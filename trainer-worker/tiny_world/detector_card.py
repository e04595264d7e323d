"""Writes the detector's manifest and card with numbers measured on pictures that it was not trained on."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diffusers import StableDiffusion3Pipeline

from tiny_world.detector_model import MAX_OBJECTS
from tiny_world.detector_runtime import COUNTING_THRESHOLD, THRESHOLD, DetectorSession
from tiny_world.detector_scenes import fresh_example, spoiled_example
from tiny_world.detector_score import Agreement, ClassCounts, agreement, count_by_class
from tiny_world.evaluate import evaluation_records
from tiny_world.golden_cases import detector_cases, write_golden_cases
from tiny_world.markdown import reflow
from tiny_world.pipeline import draw
from tiny_world.prompts import Record, evaluation_records_by_tag
from tiny_world.renderer import Picture, draw_record
from tiny_world.seeds import derive_seed
from tiny_world.vocabulary import COLOR_RGB, HELD_OUT_TAGS, PICTURE_SIZE, SHAPES

VERSION: Final = 1
PICTURES: Final = 500
MAX_OVERLAP: Final = 1.0


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """Everything that the card states."""

    fresh: ClassCounts
    spoiled: ClassCounts
    on_renders: Mapping[str, Agreement]
    on_generated: Mapping[str, Agreement]


def _rendered(records: list[Record], rng: random.Random) -> list[Picture]:
    return [draw_record(record, rng).picture for record in records]


def measure_detector(pipeline: StableDiffusion3Pipeline, session: DetectorSession, seed: int) -> DetectorReport:
    """Measure on fresh renders, spoiled renders, and pictures generated for held-out prompts."""
    rng = random.Random(derive_seed("detector card", seed))
    per_tag = PICTURES // len(HELD_OUT_TAGS)
    records = {tag: evaluation_records(per_tag, seed + 100)[tag] for tag in HELD_OUT_TAGS}
    on_renders, on_generated = {}, {}
    for tag, chosen in records.items():
        # Half of the renders belong to another prompt of the kind, so that both verdicts occur.
        others = [rng.choice(evaluation_records_by_tag()[tag]) for _ in chosen]
        shown = [right if index % 2 else other for index, (right, other) in enumerate(zip(chosen, others, strict=True))]
        on_renders[tag] = agreement(session, chosen, _rendered(shown, rng))
        pictures = draw(pipeline, [record["prompt"] for record in chosen], derive_seed("detector card", seed, tag))
        on_generated[tag] = agreement(session, chosen, pictures)
    return DetectorReport(
        fresh=count_by_class(session, [fresh_example(rng) for _ in range(PICTURES)]),
        spoiled=count_by_class(session, [spoiled_example(rng) for _ in range(PICTURES)]),
        on_renders=on_renders,
        on_generated=on_generated,
    )


def manifest(graph: Path, golden: str) -> str:
    """Return the manifest that a scorer loads the graph by; `golden`: its line about golden cases."""
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    colors = "\n".join(f"    - {{name: {name}, rgb: [{r}, {g}, {b}]}}" for name, (r, g, b) in COLOR_RGB.items())
    return f"""\
# Detector of the small world; written by `python -m tiny_world detector`.
name: tiny-world-detector
version: "{VERSION}"
kind: detector
graph: {{path: {graph.name}, sha256: {digest}}}
input: {{name: image, layout: NHWC, dtype: uint8, width: {PICTURE_SIZE}, height: {PICTURE_SIZE}}}
output: {{kind: slots}}
classes: [{", ".join(SHAPES)}]
thresholds:
  threshold: {THRESHOLD}
  countingThreshold: {COUNTING_THRESHOLD}
  maxObjects: {MAX_OBJECTS}
  maxOverlap: {MAX_OVERLAP}
# Nearest prototype in CIE Lab to the median of the pixels with mask > 0.5.
colors:
  backend: lab
  prototypes:
{colors}
licence: Apache-2.0
source: trained from nothing by trainer-worker/tiny_world on pictures drawn by a program
valueRange: [-16, 1]
{golden}"""


def write_manifest(folder: Path) -> None:
    """Write manifest.yaml and the golden cases beside the graph."""
    golden = write_golden_cases(folder, detector_cases())
    (folder / "manifest.yaml").write_text(manifest(folder / "model.onnx", golden), encoding="ascii")


def _class_table(fresh: ClassCounts, spoiled: ClassCounts) -> str:
    return "\n".join(
        f"| {shape} | {fresh.precision(shape):.3f} | {fresh.recall(shape):.3f} "
        f"| {spoiled.precision(shape):.3f} | {spoiled.recall(shape):.3f} |"
        for shape in SHAPES
    )


def _agreement_table(results: Mapping[str, Agreement]) -> str:
    total = Agreement(*(sum(getattr(r, name) for r in results.values()) for name in Agreement.__slots__))
    return "\n".join(
        f"| {tag} | {r.total} | {r.same / r.total:.3f} | {r.detector_right / r.total:.3f} "
        f"| {r.reader_right / r.total:.3f} |"
        for tag, r in (*results.items(), ("all", total))
    )


def card(report: DetectorReport, *, steps: int, seconds: float, size_bytes: int) -> str:
    """Return the text of README.md."""
    return f"""\
# Detector of the small world

A convolutional network (CenterNet) that finds {", ".join(SHAPES)} in {PICTURE_SIZE}x{PICTURE_SIZE} pictures. It stands
where a COCO detector stands in a real run, and the same scorer code runs both. Written by
`python -m tiny_world detector` in `trainer-worker`.

## Graph

`model.onnx`, opset 17, {size_bytes / 1024:.0f} KiB, any batch size n.

| tensor | type | meaning |
| --- | --- | --- |
| `image` (input) | uint8 [n, {PICTURE_SIZE}, {PICTURE_SIZE}, 3] | RGB; the graph normalises |
| `boxes` | float32 [n, {MAX_OBJECTS}, 4] | xmin, ymin, xmax, ymax in pixels, maxima exclusive; 0 in empty slots |
| `scores` | float32 [n, {MAX_OBJECTS}] | 0..1, falling; 0 in empty slots |
| `classes` | int64 [n, {MAX_OBJECTS}] | index into the manifest's `classes`; no meaning in empty slots |
| `masks` | float32 [n, {MAX_OBJECTS}, {PICTURE_SIZE}, {PICTURE_SIZE}] | foreground probability inside the box |

Score thresholds: {THRESHOLD}, and {COUNTING_THRESHOLD} for counting (see `manifest.yaml`). A colour is named by the
prototype nearest to the median Lab colour of the pixels with mask > 0.5.

## Training

{steps} steps of 32 pictures, {seconds:.0f} s of wall time on two shared CPU cores, seed 0. Pictures: fresh renders;
renders with faded or halved shapes (which count as no object), blur and grain; renders passed through the autoencoder
with noise on the latents; and pictures that the base model drew for training prompts, labelled by a program
(segmentation and templates) where that program is sure.

## Accuracy

By class, against the known objects of {PICTURES} fresh and {PICTURES} spoiled renders (box overlap >= 0.5, score >
{THRESHOLD}):

| class | precision, fresh | recall, fresh | precision, spoiled | recall, spoiled |
| --- | --- | --- | --- | --- |
{_class_table(report.fresh, report.spoiled)}

Same strict verdict as the programmatic reader (exactly the asked objects, colours and positions) on renders, half
of them of another prompt:

| kind | pictures | same verdict | right by detector | right by reader |
| --- | --- | --- | --- | --- |
{_agreement_table(report.on_renders)}

The same on pictures that the base model generated for held-out prompts:

| kind | pictures | same verdict | right by detector | right by reader |
| --- | --- | --- | --- | --- |
{_agreement_table(report.on_generated)}

Detector and reader are not the same judge: the reader also rejects a picture for a smear that the detector rightly
passes over as no object, and the detector may accept a shape too rough for the reader's templates.
"""


def write_manifest_and_card(pipeline: StableDiffusion3Pipeline, folder: Path, *, steps: int, seconds: float) -> None:
    """Measure the exported graph and write manifest.yaml and README.md beside it."""
    graph = folder / "model.onnx"
    report = measure_detector(pipeline, DetectorSession(graph), seed=0)
    write_manifest(folder)
    text = reflow(card(report, steps=steps, seconds=seconds, size_bytes=graph.stat().st_size))
    (folder / "README.md").write_text(text, encoding="ascii")
    print(_agreement_table(report.on_generated), flush=True)
