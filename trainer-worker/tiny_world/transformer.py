"""The transformer: an `SD3Transformer2DModel` of 3.1 M parameters, and its optimiser state.

Working weights are bfloat16, master weights float32; an exponential moving average of the masters is what is
sampled from and shipped.
"""

from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from tiny_world.autoencoder import LATENT_CHANNELS
from tiny_world.text_encoders import TEXT_WIDTH

LATENT_SIZE: Final = 16
PATCH: Final = 2
LAYERS: Final = 5
HEADS: Final = 2
HEAD_WIDTH: Final = 64
AVERAGING: Final = 0.998


def build_transformer() -> SD3Transformer2DModel:
    """Return an untrained transformer whose modulation and output start at zero."""
    transformer = SD3Transformer2DModel(
        sample_size=LATENT_SIZE,
        patch_size=PATCH,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=TEXT_WIDTH,
        caption_projection_dim=HEADS * HEAD_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        pos_embed_max_size=LATENT_SIZE // PATCH,
        dual_attention_layers=(0, 1),
        qk_norm="rms_norm",
    )
    for name, parameter in transformer.named_parameters():
        modulation = "norm1" in name and "linear" in name
        if modulation or "norm_out.linear" in name or name.startswith("proj_out"):
            torch.nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            torch.nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return transformer


class TrainedWeights:
    """Working copy, master copy, moving average and AdamW state of one transformer."""

    def __init__(self, model: SD3Transformer2DModel) -> None:
        self.masters = [parameter.detach().clone().float() for parameter in model.parameters()]
        self.average = [master.clone() for master in self.masters]
        self.model = model.to(torch.bfloat16)
        self.names = [name for name, _ in model.named_parameters()]
        self.workers = list(model.parameters())
        for master in self.masters:
            master.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(self.masters, 1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def step(self, step: int, learning_rate: float, *, stop: bool) -> bool:
        """Average the gradients over all processes and update; return whether any process asked to stop."""
        gradients = [worker.grad.float().flatten() for worker in self.workers if worker.grad is not None]
        flat = torch.cat([*gradients, torch.tensor([float(stop)])])
        dist.all_reduce(flat)
        stop_asked = bool(flat[-1] > 0)
        flat /= dist.get_world_size()
        offset = 0
        for master, worker in zip(self.masters, self.workers, strict=True):
            master.grad = flat[offset : offset + master.numel()].view_as(master)
            offset += master.numel()
            worker.grad = None
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        with torch.no_grad():
            for master, worker in zip(self.masters, self.workers, strict=True):
                worker.copy_(master)
            keep = min(AVERAGING, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, [master.detach() for master in self.masters], 1 - keep)
        return stop_asked

    def averaged_model(self) -> SD3Transformer2DModel:
        """Return a float32 transformer with the averaged weights as they ship (rounded to float16)."""
        model = build_transformer()
        with torch.no_grad():
            for parameter, average in zip(model.parameters(), self.average, strict=True):
                parameter.copy_(average.half().float())
        return model.eval().requires_grad_(False)

    def save(self, path: Path, step: int) -> None:
        """Write all state to one safetensors file, by way of a temporary file."""
        tensors: dict[str, Tensor] = {"step": torch.tensor(step)}
        for name, master, average in zip(self.names, self.masters, self.average, strict=True):
            state = self.optimiser.state[master]
            tensors[f"master.{name}"] = master.detach()
            tensors[f"average.{name}"] = average
            tensors[f"first_moment.{name}"] = state["exp_avg"]
            tensors[f"second_moment.{name}"] = state["exp_avg_sq"]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        save_file(tensors, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> int:
        """Restore the state that `save` wrote and return its step."""
        tensors = load_file(path)
        with torch.no_grad():
            for name, master, average, worker in zip(self.names, self.masters, self.average, self.workers, strict=True):
                master.copy_(tensors[f"master.{name}"])
                average.copy_(tensors[f"average.{name}"])
                worker.copy_(master)
                self.optimiser.state[master] = {
                    "step": tensors["step"].float().clone(),
                    "exp_avg": tensors[f"first_moment.{name}"].clone(),
                    "exp_avg_sq": tensors[f"second_moment.{name}"].clone(),
                }
        return int(tensors["step"])
