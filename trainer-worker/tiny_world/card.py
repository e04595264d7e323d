"""Writes the model card: data, configuration, time and measured accuracy."""

import os
from collections.abc import Mapping
from pathlib import Path

from diffusers import StableDiffusion3Pipeline

from tiny_world import autoencoder, curriculum, pretrain, transformer
from tiny_world.evaluate import TagResult, overall
from tiny_world.markdown import reflow
from tiny_world.pipeline import load_pipeline
from tiny_world.prompts import HELD_OUT_FRACTION, records_by_file
from tiny_world.reader_check import reader_accuracy
from tiny_world.settings import AUTOENCODER_STEPS, PRETRAIN_STEPS
from tiny_world.timings import read_timings
from tiny_world.vocabulary import ALL_TAGS, COLORS, HELD_OUT_TAGS, SHAPES
from tiny_world.words import letters, split_words


def _prompt_table() -> str:
    files = records_by_file()
    rows = []
    for tag in ALL_TAGS:
        stem = "ocr" if tag == "ocr" else "geneval"
        train, held_out = (
            sum(record["tag"] == tag for record in files[f"{stem}-{side}"]) for side in ("train", "eval")
        )
        rows.append(f"| {tag} | {train} | {held_out} |")
    return "\n".join(rows)


def _accuracy_table(results: Mapping[str, TagResult]) -> str:
    rows = [f"| {tag} | {r.total} | {r.right} | {r.accuracy:.3f} |" for tag, r in results.items()]
    return "\n".join(rows)


def _parameter_table(pipeline: StableDiffusion3Pipeline) -> str:
    names = ("vae", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
    return "\n".join(
        f"| `{name}` | {type(part).__name__} | {sum(p.numel() for p in part.parameters()) / 1e6:.2f} M |"
        for name in names
        for part in [getattr(pipeline, name)]
    )


def _phase_table() -> str:
    steps = PRETRAIN_STEPS
    starts = [0, curriculum.THINGS_STEP, curriculum.LAYOUT_STEP, curriculum.PLACES_STEP, curriculum.decay_start(steps)]
    phases = [curriculum.phase_at(start, steps) for start in starts]
    rows: list[list[object]] = [
        ["from step", *starts],
        ["noise", *(f"{phase.noise_mean}, {phase.noise_deviation}" for phase in phases)],
    ]
    for tag in ALL_TAGS:
        rows.append([tag, *((phase.weights or curriculum.POOL_WEIGHTS[phase.pool])[tag] for phase in phases)])
    lines = [" | ".join(str(cell) for cell in row) for row in rows]
    lines.insert(1, " | ".join(["---"] * (len(starts) + 1)))
    return "\n".join(f"| {line} |" for line in lines)


def _data_section() -> str:
    train_words, held_out_words = split_words()
    fractions = ", ".join(f"{tag} {fraction:.0%}" for tag, fraction in HELD_OUT_FRACTION.items())
    return f"""\
## Data

Pictures are drawn by a program: {len(SHAPES)} shapes ({", ".join(SHAPES)}) in {len(COLORS)} colours
({", ".join(COLORS)}) on a 3x3 grid with a little jitter, or one word of three or four capitals from
{len(letters())} letters ({"".join(letters())}) in fixed cells. No picture or text from elsewhere is used. Prompts
follow the GenEval metadata convention; word prompts carry the word in `text`.

| kind | training prompts | held-out prompts |
| --- | --- | --- |
{_prompt_table()}

The split is by content and by hash, made before any training ({fractions} of what a kind can show is held out);
pretraining, the detector and reinforcement learning use only the training side. The six single_object prompts cannot
be held out and are left out of the evaluation. {len(train_words)} words are for training and {len(held_out_words)} are
held out; both use the same letters. The files are in `prompts/`; `python -m tiny_world prompts` writes the same
bytes again.
"""


def _training_section(pipeline: StableDiffusion3Pipeline, cache: Path) -> str:
    timings = read_timings(cache)
    pool_sizes = " and ".join(str(size) for size in curriculum.POOL_SIZES.values())
    steps, decay = PRETRAIN_STEPS, curriculum.decay_start(PRETRAIN_STEPS)
    return f"""\
## Configuration

| part | class | parameters |
| --- | --- | --- |
{_parameter_table(pipeline)}

- Text encoders are random and frozen (seeds 1, 2, 3), {pipeline.tokenizer_max_length} tokens each; words are tokens,
  and capitals and quotes are tokenised one by one. Unknown words become `<unk>`. Call the pipeline with
  `max_sequence_length=16`.
- Autoencoder: {AUTOENCODER_STEPS} steps of {autoencoder.BATCH} pictures, AdamW {autoencoder.LEARNING_RATE}, cosine;
  8 latent channels, 16x16.
- Transformer: {transformer.LAYERS} layers, {transformer.HEADS} heads x {transformer.HEAD_WIDTH}, patch
  {transformer.PATCH}, rms qk-norm, dual attention in blocks 0 and 1; rectified flow with logit-normal noise levels;
  {steps} steps of {pretrain.PROCESSES} x {pretrain.BATCH} pictures from pools of
  {pool_sizes}; AdamW {pretrain.LEARNING_RATE}, constant, then falling from step {decay}; bfloat16 with float32
  masters; what ships is the moving average ({transformer.AVERAGING}) in float16.
- Five phases begin at the steps of the table below, which gives the noise levels' logit (mean and deviation) and how
  often each kind is drawn. In the last phase words are drawn carelessly, each letter a random one with chance
  {curriculum.WRONG_LETTER}. This was meant to leave room for reinforcement
  learning; sampling in 8 steps mostly settles on the right letter all the same.

{_phase_table()}

## Time

Two shared CPU cores ({os.uname().machine}), wall time: autoencoder {timings.get("autoencoder", 0) / 60:.0f} min,
pretraining {timings.get("pretrain", 0) / 60:.0f} min. `make tiny-world` repeats all of it (`python -m tiny_world all`
in `trainer-worker`). Pretraining shows progress, time left and accuracy, saves checkpoints and resumes.
"""


def _accuracy_section(results: Mapping[str, TagResult], *, per_tag: int, seed: int) -> str:
    total = sum(result.total for result in results.values())
    read = ", ".join(f"{tag} {accuracy:.3f}" for tag, accuracy in reader_accuracy(per_tag=200, seed=seed).items())
    return f"""\
## Base accuracy

Strict accuracy (exactly the asked objects, colours, positions or letters, and nothing else) of {total} pictures of
held-out prompts, {per_tag} a kind, noise seed {seed}, 8 Euler steps at sigmas 3s/(1+2s) for s = 1, 7/8 .. 1/8, no
guidance.
Pictures are read by a program (segmentation, shape and letter templates), not by the learnt detector:

| kind | pictures | right | accuracy |
| --- | --- | --- | --- |
{_accuracy_table(results)}

**Overall {overall(results):.3f}** (mean of {", ".join(HELD_OUT_TAGS)}). `python -m tiny_world evaluate` repeats it. The
reader itself is right on fresh renders with these rates: {read}.
"""


def write_card(cache: Path, folder: Path, results: Mapping[str, TagResult], *, per_tag: int, seed: int) -> None:
    """Write README.md of the model folder."""
    pipeline = load_pipeline(folder)
    intro = """\
# The small world

A miniature Stable Diffusion 3 for pictures of 64x64 pixels, trained from nothing on two CPU cores by
`trainer-worker/tiny_world`, so that the whole system can run and be tested without a GPU or a download. It is a
diffusers folder:

```python
from diffusers import StableDiffusion3Pipeline
pipeline = StableDiffusion3Pipeline.from_pretrained("models/tiny-world")
picture = pipeline(
    "a photo of a red circle", num_inference_steps=8, guidance_scale=1.0, height=64, width=64, max_sequence_length=16
).images[0]
```

Licence: that of the repository. Not meant for anything but this project's tests and demonstration.
"""
    sections = [
        intro,
        _data_section(),
        _training_section(pipeline, cache),
        _accuracy_section(results, per_tag=per_tag, seed=seed),
    ]
    (folder / "README.md").write_text(reflow("\n".join(sections)), encoding="ascii")
