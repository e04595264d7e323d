"""Pretraining of the transformer: two processes of one thread each, one all-reduce a step, resumable.

The learning rate warms up, stays, and falls at the end, so a run may be prolonged by asking for more
steps before the fall has begun. A step's random numbers depend only on (seed, process, step): a resumed run draws
the same batches as an uninterrupted one.
"""

import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Final

import torch
import torch.distributed as dist
from diffusers import SD3Transformer2DModel
from torch import Tensor

from tiny_world.autoencoder import load_autoencoder
from tiny_world.curriculum import Phase, decay_start, phase_at
from tiny_world.evaluate import describe, measure
from tiny_world.latents import POOL_PARTS, LatentPool, build_pool_part, load_pool, pool_paths, training_prompts
from tiny_world.pipeline import assemble, embed
from tiny_world.seeds import derive_seed
from tiny_world.timings import timed
from tiny_world.transformer import TrainedWeights, build_transformer

PROCESSES: Final = POOL_PARTS
BATCH: Final = 24
"""Pictures a step and process."""
LEARNING_RATE: Final = 1e-3
WARM_UP_STEPS: Final = 60
FINAL_FRACTION: Final = 0.02
EVALUATION_PROMPTS: Final = 16
"""Prompts of each kind in the quick measurements on the way."""


def learning_rate(step: int, steps: int) -> float:
    """Return the warmup-stable-decay learning rate."""
    decay_from = decay_start(steps)
    fall = max(0.0, (step - decay_from) / (steps - decay_from))
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - (1 - FINAL_FRACTION) * fall)


def flow_loss(
    model: SD3Transformer2DModel,
    latents: Tensor,
    text: Tensor,
    pooled: Tensor,
    *,
    phase: Phase,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean squared error of the predicted velocity on one batch (rectified flow)."""
    noise = torch.randn(latents.shape, generator=generator)
    logit = phase.noise_mean + phase.noise_deviation * torch.randn(len(latents), generator=generator)
    sigma = torch.sigmoid(logit)
    noisy = torch.lerp(latents, noise, sigma[:, None, None, None])
    velocity = model(
        hidden_states=noisy.bfloat16(),
        encoder_hidden_states=text,
        pooled_projections=pooled,
        timestep=1000 * sigma,
        return_dict=False,
    )[0]
    loss: Tensor = (velocity.float() - (noise - latents)).square().mean()
    return loss


class Run:
    """One process of the training run."""

    def __init__(self, cache: Path, *, rank: int, steps: int, seed: int) -> None:
        self.cache, self.rank, self.steps, self.seed = cache, rank, steps, seed
        self.checkpoint = cache / "transformer.safetensors"
        self.stop = False
        self.losses: deque[float] = deque(maxlen=200)

    def request_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Finish the current step, save and leave (signal handler)."""
        self.stop = True

    def prepare(self) -> None:
        """Make or load the latent pool, the embeddings and the weights."""
        autoencoder = load_autoencoder(self.cache / "autoencoder")
        self.pools: dict[str, LatentPool] = {}
        torch.manual_seed(self.seed)
        model = build_transformer()
        self.pipeline = assemble(autoencoder, model)
        text, pooled = embed(self.pipeline, training_prompts())
        self.text, self.pooled = text.bfloat16(), pooled.bfloat16()
        self.weights = TrainedWeights(model)
        self.start = self.weights.load(self.checkpoint) if self.checkpoint.exists() else 0
        dist.barrier()

    def _pool(self, name: str) -> LatentPool:
        """Return a pool; the first time make this process's part, wait for the others, and load all parts."""
        if name not in self.pools:
            paths = pool_paths(self.cache, name)
            build_pool_part(self.pipeline.vae, paths[self.rank], pool=name, part=self.rank, seed=self.seed)
            dist.barrier()
            self.pools[name] = load_pool(paths)
        return self.pools[name]

    def _loss(self, step: int, generator: torch.Generator) -> Tensor:
        """Draw the step's batch and return its loss."""
        phase = phase_at(step, self.steps)
        pool = self._pool(phase.pool)
        chosen = pool.draw(BATCH, phase.weights, generator)
        prompts = pool.prompt_indexes[chosen]
        latents = pool.latents[chosen].float()
        text, pooled = self.text[prompts], self.pooled[prompts]
        return flow_loss(self.weights.model, latents, text, pooled, phase=phase, generator=generator)

    def train(self, save_every: int, evaluate_every: int) -> None:
        """Step until done or stopped."""
        started = time.monotonic()
        generator = torch.Generator()
        for step in range(self.start, self.steps):
            generator.manual_seed(derive_seed("batch", self.seed, self.rank, step))
            loss = self._loss(step, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            stopping = self.weights.step(step, learning_rate(step, self.steps), stop=self.stop)
            self.losses.append(float(loss.detach()))
            done = step + 1
            if self.rank == 0:
                self._report(done, started)
                if done % save_every == 0 or stopping or done == self.steps:
                    self.weights.save(self.checkpoint, done)
                if done % evaluate_every == 0:
                    self._evaluate(done)
            if stopping:
                break

    def _report(self, done: int, started: float) -> None:
        if done % 100:
            return
        elapsed_s = time.monotonic() - started
        left_s = elapsed_s / (done - self.start) * (self.steps - done)
        loss = sum(self.losses) / len(self.losses)
        print(f"step {done}/{self.steps} loss {loss:.4f} {elapsed_s:.0f} s, {left_s:.0f} s left", flush=True)

    def _evaluate(self, done: int) -> None:
        self.pipeline.transformer = self.weights.averaged_model()
        report = measure(self.pipeline, per_tag=EVALUATION_PROMPTS, seed=1, sheet=self.cache / "sheet.png")
        print(f"  held-out, step {done}: {describe(report)}", flush=True)


def run_process(cache: Path, *, steps: int, seed: int, save_every: int, evaluate_every: int) -> None:
    """Entry point of one training process; rank and port come from the environment."""
    torch.set_num_threads(1)
    rank = int(os.environ["TINY_WORLD_RANK"])
    run = Run(cache, rank=rank, steps=steps, seed=seed)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, run.request_stop)
    address = f"tcp://127.0.0.1:{os.environ['TINY_WORLD_PORT']}"
    dist.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=PROCESSES, timeout=datetime.timedelta(minutes=20)
    )
    run.prepare()
    run.train(save_every, evaluate_every)
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def pretrain(cache: Path, *, steps: int, seed: int, save_every: int, evaluate_every: int) -> None:
    """Start the processes and wait; an interrupt saves a checkpoint, and the same command resumes from it."""
    arguments = [str(cache), str(steps), str(seed), str(save_every), str(evaluate_every)]
    port = str(_free_port())
    package_parent = str(Path(__file__).resolve().parents[1])
    processes = []
    for rank in range(PROCESSES):
        environment = {**os.environ, "TINY_WORLD_RANK": str(rank), "TINY_WORLD_PORT": port, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
        processes.append(subprocess.Popen([sys.executable, "-m", "tiny_world.pretrain", *arguments], env=environment))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, pass_on)
    with timed(cache, "pretrain"):
        codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"pretraining failed: exit codes of the processes are {codes}")


if __name__ == "__main__":
    folder, number_of_steps, run_seed, save_interval, evaluate_interval = sys.argv[1:6]
    run_process(
        Path(folder),
        steps=int(number_of_steps),
        seed=int(run_seed),
        save_every=int(save_interval),
        evaluate_every=int(evaluate_interval),
    )
