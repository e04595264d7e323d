"""Tiny checkpoints with random weights, of the classes that star-export reads."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PreTrainedTokenizerFast,
    SwinConfig,
)

SIDE = 32
CONTEXT = 12
WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "a", "photo", "of", "red", "circle", "text", "longer", "that", "is", "any"]
PREPROCESSING = {
    "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def write_preprocessing(folder: Path, **changes: object) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING | changes))


def build_clip(activation: str) -> CLIPModel:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_act": activation,
        # Larger than usual, so that embeddings of different inputs differ.
        "initializer_factor": 3.0,
    }
    text = {"vocab_size": len(WORDS), "max_position_embeddings": CONTEXT, "eos_token_id": 2, "pad_token_id": 0}
    vision = {"image_size": SIDE, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=sizes | text, vision_config=sizes | vision, projection_dim=16)).eval()


def write_clip(folder: Path, activation: str = "quick_gelu") -> Path:
    build_clip(activation).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    write_preprocessing(folder)
    return folder


def write_mask2former(folder: Path) -> Path:
    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        dim_feedforward=32,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=6,
        id2label={0: "cat", 1: "dog", 2: "kite"},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    write_preprocessing(folder, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    return folder
