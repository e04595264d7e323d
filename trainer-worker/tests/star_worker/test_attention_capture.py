import pytest
import torch
import torch.nn.functional as functional

from star_worker.attention_capture import (
    AttentionCapture,
    chunked_kernel,
    column_probabilities,
    concept_maps,
    fused_cpu_kernel,
)
from star_worker.sd3_family import Sd3Family
from tests.tiny_pipeline import build_transformer


def read_blocks(transformer: torch.nn.Module, capture: AttentionCapture, *blocks: int) -> None:
    for block in blocks:
        # The family needs nothing of itself to put a processor on a block.
        Sd3Family.read_attention(None, transformer.transformer_blocks[block], capture)


def inputs(batch: int = 2, text: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "hidden_states": torch.randn(batch, 4, 8, 8, generator=generator),
        "encoder_hidden_states": torch.randn(batch, text, 32, generator=generator),
        "pooled_projections": torch.randn(batch, 32, generator=generator),
        "timestep": torch.full((batch,), 700.0),
    }


@pytest.mark.parametrize("kernel", [fused_cpu_kernel, chunked_kernel])
def test_columns_equal_the_naive_softmax(kernel: object) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 300, 8, generator=generator) for _ in range(3))
    output, log_sum_exp = kernel(query, key, value)
    probability = (query @ key.transpose(2, 3) * 8**-0.5).softmax(3)
    columns = torch.tensor([[0, 5], [3, 3]])
    received = column_probabilities(query[:, :, :290], key[:, :, 290:], log_sum_exp[:, :, :290], columns)
    for row in range(2):
        expected = probability[row, :, :290, 290:].mean(0)[:, columns[row]]
        torch.testing.assert_close(received[row], expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(output, functional.scaled_dot_product_attention(query, key, value))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_reading_leaves_the_output_bit_equal_and_reads_only_chosen_joint_blocks(precision: torch.dtype) -> None:
    transformer = build_transformer().eval()
    capture = AttentionCapture(fused_cpu_kernel)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision != torch.float32):
        stock = transformer(**inputs()).sample
        read_blocks(transformer, capture, 0, 2)
        with capture.reading(torch.arange(7).expand(2, 7)):
            read = transformer(**inputs()).sample
        assert torch.equal(read, stock)
    assert capture.probabilities().shape == (2, 16, 7)
    # Block 0 has a second, image-only attention; a third reading would come from it.
    assert capture._block_count == 2
    assert type(transformer.transformer_blocks[0].attn2.processor).__name__ == "JointAttnProcessor2_0"
    assert float(capture.probabilities().sum(2).max()) < 1


def test_only_the_last_rows_of_a_guided_batch_are_read() -> None:
    transformer = build_transformer().eval()
    capture = AttentionCapture(fused_cpu_kernel)
    read_blocks(transformer, capture, 1)
    with torch.no_grad():
        with capture.reading(torch.tensor([[2], [3]])):
            transformer(**inputs())
        alone = capture.probabilities()
        doubled = {
            name: torch.cat([torch.zeros_like(value) if name != "timestep" else value, value])
            for name, value in inputs().items()
        }
        with capture.reading(torch.tensor([[2], [3]])):
            transformer(**doubled)
    torch.testing.assert_close(capture.probabilities(), alone, rtol=1e-5, atol=1e-7)


def test_columns_count_alike_whatever_their_mass_and_unmapped_concepts_are_one() -> None:
    probabilities = torch.tensor([[[0.1, 0.001], [0.3, 0.001], [0.2, 0.004]]])
    maps = concept_maps(probabilities, torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]))
    torch.testing.assert_close(maps[0, 0], torch.tensor([0.5, 1.0, 1.5]))
    assert maps[0, 1].tolist() == [1, 1, 1]
