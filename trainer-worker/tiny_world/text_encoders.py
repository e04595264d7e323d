"""Frozen random text encoders: two CLIP and one T5 in miniature, with word-level tokenizers.

They are never trained: a random encoder tells words and places apart, and the transformer learns the rest. The
default initialisation is far too small for that, so embeddings are redrawn with deviation 1, and the last CLIP
layer's attention is enlarged until the pooled vector holds a bag of words.
"""

from typing import Final

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from tiny_world.vocabulary import token_words

MAX_TOKENS: Final = 16
"""Tokens of each encoder, begin and end included; the longest prompt needs 12."""
CLIP_WIDTH: Final = 64
TEXT_WIDTH: Final = 2 * CLIP_WIDTH
"""Width of both CLIPs side by side, and of T5."""
POOLED_ATTENTION_GAIN: Final = 8.0
PAD, UNKNOWN, BEGIN, END = range(4)
SPECIAL: Final = ("<pad>", "<unk>", "<bos>", "<eos>")


def vocabulary() -> dict[str, int]:
    """Return the id of every token."""
    return {token: index for index, token in enumerate((*SPECIAL, *token_words()))}


def build_tokenizer(*, begins: bool) -> PreTrainedTokenizerFast:
    """Return a tokenizer that splits at spaces and takes capitals and quotes one by one."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex('[A-Z"]'), "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>" if begins else "$A <eos>", special_tokens=[("<bos>", BEGIN), ("<eos>", END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        unk_token=SPECIAL[UNKNOWN],
        bos_token=SPECIAL[BEGIN],
        eos_token=SPECIAL[END],
        model_max_length=MAX_TOKENS,
    )


def build_clip(seed: int) -> CLIPTextModelWithProjection:
    """Return a frozen random CLIP text model of width 64."""
    torch.manual_seed(seed)
    model = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(vocabulary()),
            hidden_size=CLIP_WIDTH,
            intermediate_size=2 * CLIP_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=CLIP_WIDTH,
            bos_token_id=BEGIN,
            eos_token_id=END,
            pad_token_id=PAD,
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "token_embedding" in name or "position_embedding" in name:
                parameter.normal_(0, 1)
            if "layers.1.self_attn.out_proj.weight" in name:
                parameter.mul_(POOLED_ATTENTION_GAIN)
    return model.eval().requires_grad_(False)


def build_t5(seed: int) -> T5EncoderModel:
    """Return a frozen random T5 encoder with one layer of width 128."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(vocabulary()),
        d_model=TEXT_WIDTH,
        d_kv=32,
        d_ff=TEXT_WIDTH,
        num_layers=1,
        num_heads=4,
        pad_token_id=PAD,
        eos_token_id=END,
        is_encoder_decoder=False,
        use_cache=False,
    )
    return T5EncoderModel(config).eval().requires_grad_(False)
