"""Exact text-column attention of joint attention, from the log-sum-exp of the attention kernel (method.md 4).

For image row p, head h and text key k: probability = exp(q_p . k / sqrt(d) - logsumexp_p) over all image and text
keys. Only the chosen columns are formed, in float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as functional
from torch import Tensor

from star_worker.errors import StarError

# (query, key, value) [B, N, L, D] -> output [B, N, L, D], log-sum-exp of the scaled logits [B, N, L] float32.
AttentionKernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

# Rows of logits formed at once by the kernel that has no log-sum-exp of its own.
_CHUNK_ROWS = 256
_ROW_SUM_TOLERANCE = 1e-5


class AttentionCapture:
    """Collects what the reading processors of a model family read while `reading`."""

    def __init__(self, kernel: AttentionKernel) -> None:
        self.kernel = kernel
        self.columns: Tensor | None = None
        self._sum: Tensor | None = None
        self._block_count = 0

    @contextmanager
    def reading(self, columns: Tensor) -> Iterator[None]:
        """Read the text columns int64 [B, K] during the forward passes inside; rows are the last B of the batch."""
        self.columns, self._sum, self._block_count = columns, None, 0
        try:
            yield
        finally:
            self.columns = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Read nothing inside, without forgetting what was read."""
        columns, self.columns = self.columns, None
        try:
            yield
        finally:
            self.columns = columns

    def attend(self, query: Tensor, key: Tensor, value: Tensor, image: slice, text: slice) -> Tensor:
        """Return the attention of [B, N, L, D], with the chosen text columns of the image rows added to what is read.

        `image` and `text` are the places of the two kinds of tokens in the sequence.
        """
        output, log_sum_exp = self.kernel(query, key, value)
        columns = self.columns
        if columns is None:
            raise StarError("INTERNAL", "attention is read only inside `reading`")
        rows = slice(query.shape[0] - columns.shape[0], None)
        device = query.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            probability = column_probabilities(
                _as_kernel_reads(query[rows, :, image], device),
                _as_kernel_reads(key[rows, :, text], device),
                log_sum_exp[rows, :, image].detach(),
                columns,
            )
        self._sum = probability if self._sum is None else self._sum + probability
        self._block_count += 1
        return output.to(query.dtype)

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
