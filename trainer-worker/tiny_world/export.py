"""Writes the pipeline folder that ships, from the newest checkpoint."""

from pathlib import Path

from tiny_world.autoencoder import load_autoencoder
from tiny_world.pipeline import assemble, save_pipeline
from tiny_world.prompts import write_prompts
from tiny_world.transformer import TrainedWeights, build_transformer


def export(cache: Path, folder: Path) -> int:
    """Write models and prompts to `folder`; return the checkpoint's step."""
    weights = TrainedWeights(build_transformer())
    step = weights.load(cache / "transformer.safetensors")
    pipeline = assemble(load_autoencoder(cache / "autoencoder"), weights.averaged_model())
    save_pipeline(pipeline, folder)
    write_prompts(folder / "prompts")
    return step
