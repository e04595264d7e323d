"""Exact text-column attention of SD3's joint attention, from the log-sum-exp of the attention kernel (method.md 4).

For image row p, head h and text key k: probability = exp(q_p . k / sqrt(d) - logsumexp_p) over all image and text
keys. Only the chosen columns are formed, in float32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor

from star_worker.errors import StarError

# (query, key, value) [B, N, L, D] -> output [B, N, L, D], log-sum-exp of the scaled logits [B, N, L] float32.
AttentionKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

# Rows of logits formed at once by the kernel that has no log-sum-exp of its own.
_CHUNK_ROWS = 256
_ROW_SUM_TOLERANCE = 1e-5


class AttentionCapture:
    """Reads the joint attention of chosen blocks while `reading`; otherwise every block runs the stock processor."""

    def __init__(self, kernel: AttentionKernel) -> None:
        self.kernel = kernel
        self.columns: Tensor | None = None
        self._sum: Tensor | None = None
        self._block_count = 0

    def install(self, transformer: Any, blocks: Sequence[int]) -> None:
        """Put a reading processor on the joint attention of `blocks`; the image-only `attn2` keeps the stock one.

        Raises RECIPE_INVALID for a block that the transformer does not have.
        """
        block_count = len(transformer.transformer_blocks)
        for block in blocks:
            if not 0 <= block < block_count:
                raise StarError(
                    "RECIPE_INVALID",
                    f"allocation.blocks: the model has the blocks 0 to {block_count - 1}, received {block}",
                )
            transformer.transformer_blocks[block].attn.set_processor(_ReadingProcessor(self))

    @contextmanager
    def reading(self, columns: Tensor) -> Iterator[None]:
        """Read the text columns int64 [B, K] during the forward passes inside; rows are the last B of the batch."""
        self.columns, self._sum, self._block_count = columns, None, 0
        try:
            yield
        finally:
            self.columns = None

    def add(self, probability: Tensor) -> None:
        """Take [B, P, K] of one block."""
        self._sum = probability if self._sum is None else self._sum + probability
        self._block_count += 1

    def probabilities(self) -> Tensor:
        """Return what was read last, float32 [B, P, K]: mean over heads and blocks."""
        if self._sum is None:
            raise StarError("INTERNAL", "no attention was read: no block has a reading processor")
        return self._sum / self._block_count


def concept_maps(probabilities: Tensor, weights: Tensor) -> Tensor:
    """Return concept maps [B, J, P], mean 1 over P, from [B, P, K] and column weights [B, J, K].

    Every text column is first divided by its own mean over positions, so that a column with much attention does not
    outweigh the others (method.md 6 "Per token"); concepts whose weights are all 0 are unmapped and give 1.
    """
    normalised = probabilities / probabilities.mean(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    maps = weights @ normalised.transpose(1, 2)
    mapped = weights.sum(2, keepdim=True) > 0
    mean = maps.mean(2, keepdim=True)
    return torch.where(mapped & (mean > 0), maps / mean.clamp(min=torch.finfo(torch.float32).tiny), 1.0)


def column_probabilities(image_query: Tensor, text_key: Tensor, log_sum_exp: Tensor, columns: Tensor) -> Tensor:
    """Return [B, P, K], mean over heads; query [B, N, P, D], keys [B, N, L, D], log-sum-exp [B, N, P]; float32."""
    index = columns[:, None, :, None].expand(-1, text_key.shape[1], -1, text_key.shape[3])
    key = text_key.gather(2, index).float()
    logits = image_query.float() @ key.transpose(2, 3) * image_query.shape[3] ** -0.5
    # Rounding must not make a probability larger than 1.
    probability: Tensor = (logits - log_sum_exp.float()[..., None]).clamp(max=0).exp().mean(1)
    return probability


class _ReadingProcessor:
    """Stock joint attention, except that the kernel also returns its log-sum-exp while columns are read."""

    def __init__(self, capture: AttentionCapture) -> None:
        self._capture = capture
        # diffusers' own annotations ask for subclasses of Tensor that nothing ever makes.
        self._stock: Any = JointAttnProcessor2_0()

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **unused: Any
    ) -> Any:
        columns = self._capture.columns
        if columns is None or encoder_hidden_states is None:
            return self._stock(attn, hidden_states, encoder_hidden_states)
        query, key, value = _joint_projections(attn, hidden_states, encoder_hidden_states)
        output, log_sum_exp = self._capture.kernel(query, key, value)
        self._read(query, key, log_sum_exp, columns, hidden_states.shape[1])
        return _project_out(attn, output.to(query.dtype), hidden_states.shape[1])

    def _read(self, query: Tensor, key: Tensor, log_sum_exp: Tensor, columns: Tensor, image_count: int) -> None:
        rows = slice(query.shape[0] - columns.shape[0], None)
        device = query.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            self._capture.add(
                column_probabilities(
                    _as_kernel_reads(query[rows, :, :image_count], device),
                    _as_kernel_reads(key[rows, :, image_count:], device),
                    log_sum_exp[rows, :, :image_count].detach(),
                    columns,
                )
            )


def _joint_projections(attn: Any, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key, value [B, N, P + L, D], image first, as the stock processor forms them."""

    def heads(values: Tensor) -> Tensor:
        return values.view(values.shape[0], -1, attn.heads, values.shape[-1] // attn.heads).transpose(1, 2)

    def normed(norm: Any, values: Tensor) -> Tensor:
        result: Tensor = values if norm is None else norm(values)
        return result

    image_query = normed(attn.norm_q, heads(attn.to_q(image)))
    image_key = normed(attn.norm_k, heads(attn.to_k(image)))
    text_query = normed(attn.norm_added_q, heads(attn.add_q_proj(text)))
    text_key = normed(attn.norm_added_k, heads(attn.add_k_proj(text)))
    query = torch.cat([image_query, text_query], 2)
    key = torch.cat([image_key, text_key], 2)
    value = torch.cat([heads(attn.to_v(image)), heads(attn.add_v_proj(text))], 2)
    return query, key, value


def _project_out(attn: Any, output: Tensor, image_count: int) -> tuple[Tensor, Tensor]:
    joined = output.transpose(1, 2).flatten(2)
    image, text = joined[:, :image_count], joined[:, image_count:]
    if not attn.context_pre_only:
        text = attn.to_add_out(text)
    return attn.to_out[1](attn.to_out[0](image)), text


def _as_kernel_reads(values: Tensor, device: str) -> Tensor:
    """Round to the autocast type: normed queries and keys leave the norm as float32, the kernel reads them rounded.

    `functional.scaled_dot_product_attention` is on the autocast list, the private operators are not.
    """
    return values.to(torch.get_autocast_dtype(device)) if _autocasts(device) else values


def _autocasts(device: str) -> bool:
    return torch.is_autocast_enabled(device)


def fused_cpu_kernel(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp of the CPU's flash attention."""
    query, key, value = (_as_kernel_reads(values, "cpu") for values in (query, key, value))
    output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[:2]
    return output, log_sum_exp


def fused_cuda_kernel(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp of CUDA's flash attention (half precision only)."""
    query, key, value = (_as_kernel_reads(values, "cuda") for values in (query, key, value))
    output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[:2]
    return output, log_sum_exp


def chunked_kernel(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the stock attention and a log-sum-exp formed in chunks of rows; for devices without the operator."""
    output = functional.scaled_dot_product_attention(query, key, value)
    device = query.device.type
    with torch.no_grad(), torch.autocast(device, enabled=False):
        scaled_key = key.float().transpose(2, 3) * query.shape[3] ** -0.5
        chunks = [(rows.float() @ scaled_key).logsumexp(3) for rows in torch.split(query, _CHUNK_ROWS, 2)]
    return output, torch.cat(chunks, 2)


def choose_kernel(
    device: torch.device, dtype: torch.dtype, heads: int, tokens: int, head_width: int
) -> AttentionKernel:
    """Return the fastest kernel that passes the self-test on this device and type; INTERNAL when none does."""
    fused = {"cpu": fused_cpu_kernel, "cuda": fused_cuda_kernel}.get(device.type)
    candidates = [fused, chunked_kernel] if fused else [chunked_kernel]
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, tokens, head_width, generator=generator).to(device, dtype) for _ in range(3)
    )
    for kernel in candidates:
        if _passes(kernel, query, key, value):
            return kernel
    raise StarError("INTERNAL", f"no attention kernel gives a log-sum-exp on {device} with {dtype}: drop allocation")


def _passes(kernel: AttentionKernel, query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Return whether rows sum to 1 and the output equals the stock one bit for bit."""
    with torch.no_grad():
        stock = functional.scaled_dot_product_attention(query, key, value)
        try:
            output, log_sum_exp = kernel(query, key, value)
        except (RuntimeError, NotImplementedError):
            return False
        every = torch.arange(key.shape[2], device=key.device)[None]
        sums = column_probabilities(query, key, log_sum_exp[:, :, : query.shape[2]], every).sum(2)
        return torch.equal(output, stock) and bool(((sums - 1).abs() < _ROW_SUM_TOLERANCE).all())
