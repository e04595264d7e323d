"""The lines of diffusers code that a report shows load a real export and draw a picture."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image

from star_worker.schedule import linear_sigmas
from star_worker.training_run import TrainingRun
from star_worker.types import TrainingConfig
from tests.tiny_pipeline import group, loss_masks, plan, training_config

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/tiny-world"
PROMPT = "a photo of a red circle"
TIMEOUT_S = 300.0


def nothing(*_: object) -> None:
    pass


def recipe(*, lora: bool) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "recipes/tiny-geneval-star.yaml").read_text())
    loaded["model"]["lora"] = {"rank": 4, "alpha": 8} if lora else None
    return loaded


def training_config_of(chosen: dict[str, Any]) -> TrainingConfig:
    """The recipe's model with the sizes of a test."""
    model = chosen["model"]
    config = training_config(MODEL, lora=model["lora"] is not None, blocks=(1,))
    size = {"height": model["height"], "width": model["width"], "max_sequence_length": model["maxSequenceLength"]}
    return replace(config, model=replace(config.model, **size))


def export(chosen: dict[str, Any], folder: Path) -> str:
    """One real iteration, so that what is loaded is not the base model."""
    run = TrainingRun.load(training_config_of(chosen), 7, nothing)
    rollout_plan = plan(group(0, ("red", "circle"), rollouts=4, prompt=PROMPT))
    run.rollout(rollout_plan, nothing, nothing, nothing)
    run.update(iter(loss_masks(rollout_plan, (1.0, -1.0))), 0, 3, nothing, nothing)
    return run.export(folder)


def snippet(chosen: dict[str, Any], folder: Path, export_format: str) -> str:
    """What `server-ts/src/report/export-code.ts` writes into a report."""
    request = {
        "recipe": chosen,
        "outcome": {"path": str(folder), "format": export_format},
        "modelPath": str(MODEL),
        "prompt": PROMPT,
    }
    node = ["node", "--import", "tsx", "test/print-export-code.ts"]
    path = f"{ROOT / 'node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"
    printed = subprocess.run(
        node,
        cwd=ROOT / "server-ts",
        env={**os.environ, "PATH": path},
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return printed.stdout


def draw(code: str, folder: Path) -> Image.Image:
    """Runs the lines as they are, in an empty folder and without network."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    # A loader that finds no matching layer only warns (as it rightly does for the text encoders).
    assert "No LoRA keys associated to SD3Transformer2DModel" not in done.stderr
    return Image.open(folder / "picture.png")


def assert_samples_the_recipes_schedule(code: str, chosen: dict[str, Any]) -> None:
    """What the lines hand to the pipeline becomes, after the scheduler's shift, the schedule of the run."""
    given = re.search(r"sigmas=\[(.*)\]", code)
    assert given is not None
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(MODEL, subfolder="scheduler")
    scheduler.set_timesteps(sigmas=[float(sigma) for sigma in given.group(1).split(",")])
    sampling = chosen["sampling"]
    expected = linear_sigmas(sampling["numInferenceSteps"], sampling["shift"])
    assert scheduler.sigmas.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("lora", "export_format"), [(True, "lora"), (False, "transformer")])
def test_the_lines_of_the_report_draw_a_picture(tmp_path: Path, lora: bool, export_format: str) -> None:
    chosen = recipe(lora=lora)
    assert export(chosen, tmp_path / "export") == export_format
    code = snippet(chosen, tmp_path / "export", export_format)
    assert str(tmp_path / "export") in code
    assert_samples_the_recipes_schedule(code, chosen)
    picture = draw(code, tmp_path / "place")
    assert picture.size == (64, 64)
    assert np.asarray(picture).std() > 1
