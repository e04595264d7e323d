"""Exports the image-text model as a scorer bundle, and writes its card with numbers measured on held-out prompts."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from transformers import CLIPModel

from star_worker.onnx_export.bundle_folder import Origin
from star_worker.onnx_export.clip_towers import ClipSource
from star_worker.onnx_export.image_text import export_similarity
from star_worker.onnx_export.parity import Check
from tiny_world.captions import CHANGES
from tiny_world.golden_cases import image_text_cases, write_golden_cases
from tiny_world.image_text_model import BATCH, EMBEDDING
from tiny_world.image_text_runtime import ImageTextSession
from tiny_world.image_text_score import PICTURES, ImageTextReport, Separation, measure_image_text
from tiny_world.markdown import reflow
from tiny_world.pipeline import load_pipeline
from tiny_world.text_encoders import MAX_TOKENS, build_tokenizer
from tiny_world.vocabulary import PICTURE_SIZE

ORIGIN: Final = Origin(
    name="tiny-world-image-text",
    licence="Apache-2.0",
    source="trained from nothing by trainer-worker/tiny_world on pictures drawn by a program",
)
PREPROCESSING: Final = {
    "size": {"shortest_edge": PICTURE_SIZE},
    "crop_size": {"height": PICTURE_SIZE, "width": PICTURE_SIZE},
    "resample": 3,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def save_checkpoint(model: CLIPModel, folder: Path) -> None:
    """Write a folder as `star-export` reads it."""
    model.save_pretrained(folder)
    build_tokenizer(begins=True).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=2) + "\n")


def export_bundle(checkpoint: Path, folder: Path) -> list[Check]:
    """Replace the bundle in `folder`; it stays as it is when the new one is refused."""
    source = ClipSource.load(checkpoint, checkpoint)
    fresh = checkpoint.with_name(checkpoint.name + "-bundle")
    shutil.rmtree(fresh, ignore_errors=True)
    # The divisor takes the logit scale out again: the score is the cosine.
    checks = export_similarity(source, fresh, ORIGIN, divisor=source.logit_scale, value_range=(-1.0, 1.0))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(fresh, folder)
    add_golden_cases(folder)
    return checks


def add_golden_cases(folder: Path) -> None:
    """Write golden cases into a bundle without any, and name them in its manifest."""
    line = write_golden_cases(folder, image_text_cases(ImageTextSession(folder).score))
    with (folder / "manifest.yaml").open("a", encoding="ascii") as manifest:
        manifest.write(line)


def _separation_table(report: ImageTextReport) -> str:
    return "\n".join(
        f"| {change} | {report.on_renders[change].pairs} | {report.on_renders[change].accuracy:.3f} "
        f"| {report.on_reconstructions[change].accuracy:.3f} |"
        for change in (*CHANGES, "all")
    )


def _weakness(separations: dict[str, Separation]) -> str:
    """Say what the model is worst at, and which kinds it does not tell at all."""
    worst = min(CHANGES, key=lambda change: separations[change].accuracy)
    guessed = [change for change in CHANGES if not separations[change].beats_guessing]
    lesson = f"No better than guessing: {', '.join(guessed)}; do not use the score to train that." if guessed else ""
    mean = sum(separations[change].accuracy for change in CHANGES) / len(CHANGES)
    return f"""\
Worst at {worst}. {lesson} The line "all" counts pairs, of which {separations["shape"].pairs} are of shape; the mean of
the five kinds is {mean:.3f} on renders."""


def _parity_table(checks: Sequence[Check]) -> str:
    return "\n".join(f"| {check.output} | {check.max_error:.1e} | {check.tolerance:.0e} |" for check in checks)


def card(
    report: ImageTextReport, checks: Sequence[Check], *, steps: int, seconds: float, seed: int, size_bytes: int
) -> str:
    """Return the text of README.md."""
    generated = report.on_generated
    return f"""\
# Image-text model of the small world

A CLIP in miniature that tells how well a {PICTURE_SIZE}x{PICTURE_SIZE} picture fits a caption. It stands where
PickScore or CLIPScore stands in a real run, and the same scorer code runs all of them. Score: the cosine, -1..1.
Written by `python -m tiny_world image-text` in `trainer-worker`; {size_bytes / 1e6:.2f} MB in all.

## Graphs

| tensor | type | meaning |
| --- | --- | --- |
| `pixel_values` (input of `image.onnx`) | float32 [n, 3, {PICTURE_SIZE}, {PICTURE_SIZE}] | RGB, (x / 255 - 0.5) / 0.5 |
| `image_embeds` | float32 [n, {EMBEDDING}] | not normalised |
| `input_ids` (input of `text.onnx`) | int64 [n, {MAX_TOKENS}] | of `tokenizer.json`: words, capitals one by one |
| `text_embeds` | float32 [n, {EMBEDDING}] | not normalised |

Largest error of the graphs against PyTorch (more in `parity.json`):

| output | error | allowed |
| --- | --- | --- |
{_parity_table(checks)}

## Training

{steps} steps of {BATCH} fresh renders of training prompts, {seconds:.0f} s of wall time on one thread of a shared CPU,
seed {seed}. Contrastive: every picture against the captions of the batch and against wrong captions that differ in one
thing; captions of other pictures that happen to hold are left out. While training, the picture tower also says what
lies in every cell.

## Accuracy

How often the right caption scores higher than a wrong one that differs in one thing only, on {PICTURES} fresh renders
of held-out prompts, and on the same pictures after the autoencoder (guessing: 0.5):

| changed | pairs | renders | after the autoencoder |
| --- | --- | --- | --- |
{_separation_table(report)}

Changed means: color, another colour or two colours exchanged; count, another number; shape, another shape; position,
another relation or the two things exchanged; letter, one letter of the word.

{_weakness(report.on_renders)}

On {generated.pictures} pictures that the base model drew for held-out prompts ({generated.right} of them right by the
programmatic reader), a right picture scores higher than a wrong one of any prompt with chance {generated.auroc:.3f},
and than a wrong one of the same kind of prompt with chance {generated.auroc_within_kind:.3f}. The second number is the
one that matters: the first also counts that some kinds score high and are easy to draw.
"""


def write_bundle_and_card(
    model: Path, checkpoint: Path, folder: Path, *, steps: int, seconds: float, seed: int
) -> None:
    """Export the checkpoint to `folder`, measure the graphs and write README.md beside them."""
    checks = export_bundle(checkpoint, folder)
    report = measure_image_text(load_pipeline(model), ImageTextSession(folder).score, seed=0)
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    text = card(report, checks, steps=steps, seconds=seconds, seed=seed, size_bytes=size_bytes)
    (folder / "README.md").write_text(reflow(text), encoding="ascii")
    print(_separation_table(report), flush=True)
