"""The reference of server-ts/bench/image-text.ts: a PickScore-like score by transformers, as its authors publish it.

Given an empty folder it writes there `bundle` (a random CLIP, exported) and PNG pictures and prints their names as a
line of JSON. For every line on standard input (a JSON list of prompts, one per picture) it scores all pictures and
prints `seconds` of processor time and `scores`. Ends with its input.
"""

import json
import sys
from pathlib import Path
from time import process_time

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from star_worker.onnx_export.bundle_folder import Origin
from star_worker.onnx_export.clip_towers import ClipSource
from star_worker.onnx_export.image_text import export_similarity
from star_worker.onnx_export.preprocessing import clip_preprocessing
from star_worker.picture import encode_png

PICTURES = 48
SIDE = 512
BATCH = 16
DIVISOR = 26
TOKENIZER = Path(__file__).parents[2] / "models" / "tiny-world" / "tokenizer"
CONTEXT = 77
VISION = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 4, "num_attention_heads": 6}
TEXT = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}


def build_model() -> CLIPModel:
    """A CLIP between the small and the base size, with random weights."""
    torch.manual_seed(0)
    text = {
        "vocab_size": 66,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {"image_size": 224, "patch_size": 32}
    return CLIPModel(CLIPConfig(text_config=TEXT | text, vision_config=VISION | vision, projection_dim=256)).eval()


def picture(index: int) -> np.ndarray:
    """Shaded ground, discs and a little noise: compresses like a photograph."""
    random = np.random.default_rng(index)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    shade = np.stack([x * y, 1 - x, y], -1) * random.uniform(60, 200, 3)
    for _ in range(6):
        centre, radius = random.uniform(0, 1, 2), random.uniform(0.05, 0.3)
        shade[np.hypot(x - centre[0], y - centre[1]) < radius] = random.uniform(0, 255, 3)
    return (shade + random.normal(0, 3, shade.shape)).clip(0, 255).astype(np.uint8)


def score(model: CLIPModel, processor: CLIPProcessor, files: list[Path], prompts: list[str]) -> list[float]:
    """logit scale x cosine / divisor of every picture with its prompt."""
    scores: list[float] = []
    for start in range(0, len(files), BATCH):
        images = [Image.open(file).convert("RGB") for file in files[start : start + BATCH]]
        texts = prompts[start : start + BATCH]
        inputs = processor(
            text=texts, images=images, padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt"
        )
        with torch.inference_mode():
            scores += (model(**inputs).logits_per_image.diagonal() / DIVISOR).tolist()
    return scores


def main(folder: Path) -> None:
    """Prepares the folder, then scores until the input ends."""
    torch.set_num_threads(1)
    model = build_model()
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    image_processor = CLIPImageProcessorPil()
    image_processor.save_pretrained(folder)
    source = ClipSource(model, tokenizer, clip_preprocessing(folder, 224))
    origin = Origin(name="random-clip", licence="none", source="random numbers")
    export_similarity(source, folder / "bundle", origin, divisor=DIVISOR)
    files = [folder / f"{index:02}.png" for index in range(PICTURES)]
    for index, file in enumerate(files):
        file.write_bytes(encode_png(picture(index)))
    processor = CLIPProcessor(image_processor, tokenizer)
    print(json.dumps([str(file) for file in files]), flush=True)
    for line in sys.stdin:
        start = process_time()
        scores = score(model, processor, files, json.loads(line))
        print(json.dumps({"seconds": process_time() - start, "scores": scores}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
