"""Writes mask2former.json: what mmdet's instance post-processing gives on random logits.

Follows MaskFormerFusionHead.instance_postprocess in float64 PyTorch: softmax without "no object", best (query, class)
pairs, mask logits to the size of the input and then of the picture, score times mean mask probability, tight box.

Run: python golden/make_mask2former.py [--check]; --check compares with the file that is there and writes nothing.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as functional

PATH = Path(__file__).parent / "mask2former.json"
QUERIES, CLASSES, CANDIDATES = 6, 3, 5
MASK, INPUT = (8, 8), (32, 32)
PICTURES = [(20, 24), (32, 32), (45, 33)]


def resized(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear, [Q, h, w] -> [Q, *size]."""
    return functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]


def objects(class_logits: torch.Tensor, mask_logits: torch.Tensor, size: tuple[int, int]) -> list[dict]:
    """Objects of one picture of `size` (height, width), best pair first."""
    scores = functional.softmax(class_logits, dim=-1)[:, :-1]
    best, places = scores.flatten().topk(CANDIDATES)
    masks = resized(resized(mask_logits, INPUT), size)[places // CLASSES]
    found = []
    for score, class_index, mask in zip(best, places % CLASSES, masks, strict=True):
        inside = mask > 0
        certainty = (mask.sigmoid() * inside).sum() / (inside.sum() + 1e-6)
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        box = [0, 0, 0, 0]
        if len(rows):
            box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        found.append({"class": int(class_index), "score": float(score * certainty), "box": box})
    return found


def content() -> str:
    """Text of the file."""
    generator = torch.Generator().manual_seed(11)
    cases = []
    for size in PICTURES:
        class_logits = 2 * torch.randn(QUERIES, CLASSES + 1, generator=generator, dtype=torch.float64)
        mask_logits = torch.randn(QUERIES, *MASK, generator=generator, dtype=torch.float64) - 5
        for logits in mask_logits:
            top, left = torch.randint(0, 5, (2,), generator=generator).tolist()
            logits[top : top + 4, left : left + 3] += 7
        class_logits, mask_logits = class_logits.round(decimals=3), mask_logits.round(decimals=3)
        mask_logits[0] = -1  # empty
        class_logits[0, 0] = 5
        found = [{**one, "score": round(one["score"], 9)} for one in objects(class_logits, mask_logits, size)]
        logits = {"classLogits": class_logits.flatten().tolist(), "maskLogits": mask_logits.flatten().tolist()}
        cases.append({"size": size, **logits, "objects": found})
    settings = {"queries": QUERIES, "classes": CLASSES, "candidates": CANDIDATES, "mask": MASK, "input": INPUT}
    return json.dumps({"description": f"written by {Path(__file__).name}", **settings, "cases": cases}) + "\n"


def main() -> int:
    """Write the file, or with --check compare it."""
    text = content()
    if "--check" not in sys.argv:
        PATH.write_text(text, encoding="ascii")
    elif not PATH.exists() or PATH.read_text(encoding="ascii") != text:
        print(f"stale: {PATH.name}; run python {Path(__file__).name}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
