"""Bundles written from tiny checkpoints: complete and equal to PyTorch, or not there at all."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from tokenizers import Tokenizer
from transformers import CLIPModel

from star_worker.onnx_export import graph_file
from star_worker.onnx_export.__main__ import main
from star_worker.onnx_export.bundle_folder import Origin
from star_worker.onnx_export.clip_towers import ClipSource, scorer_ids
from star_worker.onnx_export.image_text import ExportOptions, export_similarity
from star_worker.onnx_export.mask2former import class_names
from tests.tiny_checkpoints import CONTEXT, SIDE, build_tokenizer, write_clip, write_mask2former, write_preprocessing


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mask2former(tmp_path_factory.mktemp("mask2former"))


def export(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def read_manifest(bundle: Path) -> dict[str, Any]:
    return yaml.safe_load((bundle / "manifest.yaml").read_text())


def named_files(part: object) -> list[dict[str, str]]:
    if isinstance(part, dict):
        return [part] if "sha256" in part else [file for value in part.values() for file in named_files(value)]
    return [file for value in part for file in named_files(value)] if isinstance(part, list) else []


def run(graph: Path, value: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(graph))
    return session.run(None, {session.get_inputs()[0].name: value})[0].astype(np.float32)


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def scores_by_manifest(bundle: Path, pixels: np.ndarray, texts: list[str]) -> np.ndarray:
    """Score every picture with every text by nothing but what the bundle says."""
    manifest = read_manifest(bundle)
    text = manifest["text"]
    tokenizer = Tokenizer.from_file(str(bundle / text["tokenizer"]["path"]))
    ids = scorer_ids(tokenizer, texts, length=text["contextLength"], end=text["endId"], pad=text["padId"])
    images = run(bundle / manifest["image"]["graph"]["path"], pixels)
    embedded = run(bundle / text["graph"]["path"], ids)
    return manifest["head"]["logitScale"] * unit(images) @ unit(embedded).T / manifest["head"]["divisor"]


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 5e-3)])
def test_a_pickscore_bundle_scores_as_the_model_does(
    tmp_path: Path, activation: str, precision: str, tolerance: float
) -> None:
    folder, bundle = write_clip(tmp_path / "model", activation), tmp_path / "bundle"
    assert export("pickscore", folder, bundle, "--precision", precision) == 0
    texts = ["a photo of a red circle", "a circle", "text " * 50]
    # Another batch size and other inputs than those of the parity check.
    pixels = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    inputs = build_tokenizer()(texts, padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
    with torch.inference_mode():
        model = CLIPModel.from_pretrained(folder)
        expected = model(inputs.input_ids, pixels, inputs.attention_mask).logits_per_image.numpy() / 26
    dtype = np.float16 if precision == "float16" else np.float32
    received = scores_by_manifest(bundle, pixels.numpy().astype(dtype), texts)
    assert expected.std() > 10 * tolerance
    np.testing.assert_allclose(received, expected, atol=tolerance)


def test_the_bundle_says_what_is_in_it(clip_folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "My Bundle"
    assert export("clip", clip_folder, bundle, "--licence", "MIT", "--divisor", "1") == 0
    manifest = read_manifest(bundle)
    assert manifest["name"] == "my-bundle"
    assert manifest["kind"] == "image_text"
    assert manifest["licence"] == "MIT"
    assert manifest["head"]["divisor"] == 1
    assert manifest["image"] | {"graph": 0, "externalData": 0} == {
        "graph": 0,
        "externalData": 0,
        "input": "pixel_values",
        "output": "image_embeds",
        "size": SIDE,
        "resize": {"filter": "bicubic"},
        "crop": "floor",
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    }
    files = named_files(manifest)
    assert {file["path"] for file in files} == {"image.onnx", "text.onnx", "tokenizer.json"}
    for file in files:
        assert hashlib.sha256((bundle / file["path"]).read_bytes()).hexdigest() == file["sha256"]
    report = json.loads((bundle / "parity.json").read_text())
    assert [check["output"].split()[0] for check in report["checks"]] == ["image", "text", "score"]
    assert all(0 <= check["max_error"] <= check["tolerance"] for check in report["checks"])


def test_large_weights_lie_outside_the_graph(clip_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(external_above_bytes=10_000)
    source = ClipSource.load(clip_folder, clip_folder)
    export_similarity(source, tmp_path / "bundle", Origin("x", "l", "s"), divisor=1, options=options)
    manifest = read_manifest(tmp_path / "bundle")
    assert [file["path"] for file in manifest["image"]["externalData"]] == ["image.onnx.data"]
    assert [file["path"] for file in manifest["text"]["externalData"]] == ["text.onnx.data"]
    assert (tmp_path / "bundle" / "image.onnx").stat().st_size < (
        tmp_path / "bundle" / "image.onnx.data"
    ).stat().st_size
    assert run(tmp_path / "bundle" / "image.onnx", np.zeros((1, 3, SIDE, SIDE), np.float32)).shape == (1, 16)


def test_an_aesthetic_bundle_is_the_head_on_the_embedding(clip_folder: Path, tmp_path: Path) -> None:
    head = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1)).eval()
    torch.save({f"layers.{key}": value for key, value in head.state_dict().items()}, tmp_path / "head.pth")
    assert export("aesthetic", clip_folder, tmp_path / "bundle", "--head", tmp_path / "head.pth") == 0
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest["text"] is None
    pixels = torch.randn(2, 3, SIDE, SIDE)
    embedding = unit(run(tmp_path / "bundle" / "image.onnx", pixels.numpy()))
    with torch.inference_mode():
        features = CLIPModel.from_pretrained(clip_folder).get_image_features(pixels).pooler_output
        expected = head(features / features.norm(dim=-1, keepdim=True)).numpy()
    np.testing.assert_allclose(run(tmp_path / "bundle" / "head.onnx", embedding), expected, atol=1e-5)


def test_a_mask2former_bundle_fits_the_detector_scorer(detector_folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert export("mask2former", detector_folder, bundle, "--height", 64, "--width", 96) == 0
    manifest = read_manifest(bundle)
    assert manifest["input"]["mean"] == [123.675, 116.28, 103.53]
    assert (manifest["input"]["width"], manifest["input"]["height"]) == (96, 64)
    assert manifest["classes"] == ["cat", "dog", "kite"]
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    output = manifest["output"]
    classes, masks = session.run(
        [output["classLogits"], output["maskLogits"]],
        {manifest["input"]["name"]: np.zeros((5, 3, 64, 96), np.float32)},
    )
    assert classes.shape == (5, 6, 4)
    assert masks.shape == (5, 6, 16, 24)
    assert len(json.loads((bundle / "parity.json").read_text())["checks"]) == 3


def test_a_detector_bundle_can_bring_the_clip_that_tells_colours(clip_folder: Path, tmp_path: Path) -> None:
    package = Path(__file__).parents[3] / "node_modules/@vladmandic/human"
    if not package.exists():
        pytest.skip("npm packages are not installed")
    assert export("clip", clip_folder, tmp_path / "clip") == 0
    bundle = tmp_path / "bundle"
    assert export("centernet", package, bundle, "--colors", tmp_path / "clip") == 0
    colors = read_manifest(bundle)["colors"]
    assert colors["backend"] == "clip"
    files = named_files(colors)
    assert {file["path"] for file in files} == {"clip/image.onnx", "clip/text.onnx", "clip/tokenizer.json"}
    for file in files:
        assert hashlib.sha256((bundle / file["path"]).read_bytes()).hexdigest() == file["sha256"]
    assert export("centernet", package, tmp_path / "other", "--colors", bundle) == 1
    assert not (tmp_path / "other").exists()


def test_coco_classes_go_by_genevals_names() -> None:
    labels = {index: str(index) for index in range(80)}
    assert class_names(labels) == [str(index) for index in range(80)]
    assert class_names(labels | {0: "person", 79: "toothbrush"}) == "coco-80"


def break_weights(monkeypatch: pytest.MonkeyPatch, change: float) -> None:
    """Spoil the largest weight matrix of every graph on its way to the file."""
    save = onnx.save_model

    def save_broken(model: onnx.ModelProto, path: Path, **options: object) -> None:
        tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] += change
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        save(model, path, **options)

    monkeypatch.setattr(graph_file.onnx, "save_model", save_broken)


@pytest.mark.parametrize(("kind", "change"), [("pickscore", 0.5), ("pickscore", float("nan")), ("mask2former", 0.5)])
def test_a_graph_that_differs_is_refused_and_leaves_nothing(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    change: float,
) -> None:
    folder = request.getfixturevalue("clip_folder" if kind == "pickscore" else "detector_folder")
    sides = [] if kind == "pickscore" else ["--height", 64, "--width", 64]
    break_weights(monkeypatch, change)
    assert export(kind, folder, tmp_path / "bundle", *sides) == 1
    assert "the exported graph differs from PyTorch, nothing written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone_before_any_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert export("clip", tmp_path / "no model", tmp_path) == 1
    assert "is there already; remove it or name another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _other_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "siglip"}))


def _missing_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_type, "model_type 'siglip', expected 'clip'"),
        (_missing_weights, "lacks 1 weights of CLIPModel (visual_projection.weight"),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer that can be read"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "it says size, mean and std; copy it there"),
        (lambda folder: write_preprocessing(folder, crop_size=31), f"should both be the model's image_size, {SIDE}"),
        (
            lambda folder: write_preprocessing(folder, size={"height": SIDE, "width": SIDE}),
            "should both be the model's",
        ),
        (lambda folder: write_preprocessing(folder, resample=1), "resample is 1, expected 2 (bilinear) or 3 (bicubic)"),
        (lambda folder: write_preprocessing(folder, image_std=[1]), "image_std is [1], expected three numbers"),
    ],
)
def test_an_unfit_folder_is_named_with_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], message: str
) -> None:
    spoil(write_clip(tmp_path / "model"))
    assert export("clip", tmp_path / "model", tmp_path / "bundle") == 1
    error = capsys.readouterr().err
    assert "MODEL_NOT_LOADABLE" in error
    assert message in error
    assert not (tmp_path / "bundle").exists()


def test_a_head_of_another_width_is_refused(
    clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(768, 1)).state_dict(), tmp_path / "head.pt")
    assert export("aesthetic", clip_folder, tmp_path / "bundle", "--head", tmp_path / "head.pt") == 1
    assert "has layers 768 -> 1; expected a chain from 16 (the embedding) to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "saved", [{"0.weight": torch.zeros(1, 16)}, {"0.weight": torch.zeros(16)}, torch.nn.Linear(16, 1)]
)
def test_a_head_that_is_no_linear_layers_is_named_with_the_fix(
    clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], saved: object
) -> None:
    torch.save(saved, tmp_path / "head.pt")
    assert export("aesthetic", clip_folder, tmp_path / "bundle", "--head", tmp_path / "head.pt") == 1
    error = capsys.readouterr().err
    assert "head.pt holds no weights and biases of numbered linear layers" in error
    assert "save the predictor's state_dict(), not the module" in error


def test_a_name_without_letters_is_refused(
    clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("clip", clip_folder, tmp_path / "bundle", "--name", "!!") == 1
    assert "--name '!!' should have letters a-z or digits" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("divisor", ["0", "-1", "nan", "inf"])
def test_a_divisor_is_positive(tmp_path: Path, capsys: pytest.CaptureFixture[str], divisor: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        export("clip", tmp_path, tmp_path / "bundle", f"--divisor={divisor}")
    assert f"argument --divisor: {divisor} should be a positive number" in capsys.readouterr().err


def test_a_size_that_the_backbone_cannot_halve_is_refused(
    detector_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("mask2former", detector_folder, tmp_path / "bundle", "--height", 70) == 1
    assert "--height 70 and --width 800 should be multiples of 32" in capsys.readouterr().err


def test_long_texts_keep_their_beginning_and_the_end_id() -> None:
    ids = scorer_ids(build_tokenizer().backend_tokenizer, ["a photo", "circle " * 20], length=5, end=2, pad=0)
    assert ids.tolist() == [[1, 4, 5, 2, 0], [1, 8, 8, 8, 2]]
