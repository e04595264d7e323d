"""The worker with the real engine and a tiny random model, driven over gRPC."""

import numpy as np
import pytest
import tiny_pipeline
from control_plane import ControlPlane, completed, config_message, plan_chunks
from running_worker import RunningWorker

from star_worker.gen.star.v1 import rollout_pb2, tensor_pb2, training_config_pb2, update_pb2
from star_worker.gen.star.v1 import worker_service_pb2 as pb
from star_worker.training_run import TrainingRun

# The model really works here.
MODEL_TIMEOUT_S = 120
ROLLOUT_COUNT = 4
TRAINED_STEPS = [0, 1]


def real_config(folder):
    expected = tiny_pipeline.training_config(folder)
    config = config_message()
    config.model.path = str(folder)
    config.model.height, config.model.width = expected.model.height, expected.model.width
    config.model.max_sequence_length = expected.model.max_sequence_length
    config.model.lora.target_modules[:] = expected.model.lora.target_modules
    config.sampling.sigmas[:] = expected.sampling.sigmas
    config.sampling.window_size = expected.sampling.window_size
    config.capture.blocks[:] = expected.capture.blocks
    config.objective.policy_gradient.clip_range = 0.01
    config.optimizer.CopyFrom(
        training_config_pb2.OptimizerConfig(
            learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=1e-4, max_grad_norm=1
        )
    )
    config.thread_count = 1
    config.checkpoint_every = 1
    return config


def real_plan(folder, keep_trajectory=True):
    group = tiny_pipeline.group(0, rollouts=ROLLOUT_COUNT)
    message = rollout_pb2.RolloutGroup(
        prompt_index=group.prompt_index,
        prompt=group.prompt,
        prompt_hash=group.prompt_hash,
        rollouts=[
            rollout_pb2.RolloutSpec(rollout_id=each.rollout_id, rollout_index=each.rollout_index, seed=each.seed)
            for each in group.rollouts
        ],
        core_spans=[
            rollout_pb2.CoreSpan(start=span.start, end=span.end, concept_index=span.concept_index)
            for span in group.core_spans
        ],
        attention_masks=[rollout_pb2.AttentionMask(step_index=step, concept_indexes=[0]) for step in TRAINED_STEPS],
    )
    sigmas = tiny_pipeline.training_config(folder).sampling.sigmas
    window_size = 2 if keep_trajectory else 0
    return plan_chunks(message, sigmas=sigmas, window_size=window_size, keep_trajectory=keep_trajectory)


def masks_of(chunks):
    """Advantages from the order of the rollouts, allocation maps from their captured attention."""
    results = [chunk.result for chunk in chunks if chunk.HasField("result")]
    for index, result in enumerate(results):
        values = result.attention.values
        codes = np.frombuffer(values.data, dtype=np.uint8).reshape(values.shape)
        scale, offset = (
            np.array(each).reshape(-1, 1, 1) for each in (result.attention.scales, result.attention.offsets)
        )
        maps = (codes[:, 0] * scale + offset).astype(np.float32)
        assert maps.mean(axis=(1, 2)) == pytest.approx([1] * len(TRAINED_STEPS), abs=0.02)
        maps = maps / maps.mean(axis=(1, 2), keepdims=True)
        tensor = tensor_pb2.Tensor(data_type="DATA_TYPE_FLOAT32", shape=maps.shape, data=maps.tobytes())
        yield update_pb2.LossMask(
            rollout_id=result.rollout_id, advantage=index - 1.5, allocation_maps=tensor, step_indexes=TRAINED_STEPS
        )


class Driver:
    def __init__(self, plane, folder):
        self.plane, self.folder = plane, folder
        self.connection = plane.connection()

    def do(self, **offer):
        self.connection.offer(**offer)
        return completed(self.connection.answers.get(timeout=MODEL_TIMEOUT_S))

    def prepare(self, version):
        return self.do(policy_version=version, prepare=pb.PrepareWork(config=real_config(self.folder), run_seed=3))

    def rollout(self, iteration, keep_trajectory=True):
        self.plane.plan = real_plan(self.folder, keep_trajectory)
        self.do(policy_version=iteration, iteration=iteration, rollout=pb.RolloutWork(rollout_count=ROLLOUT_COUNT))
        return self.plane.submitted[-1]

    def iterate(self, iteration):
        self.plane.masks = list(masks_of(self.rollout(iteration)))
        self.rollout(iteration, keep_trajectory=False)
        return self.do(policy_version=iteration, iteration=iteration, update=pb.UpdateWork(seed=iteration)).update


def test_a_run_continued_from_a_checkpoint_repeats_the_uninterrupted_run_exactly(pipeline_folder, tmp_path):
    with ControlPlane() as plane, RunningWorker(plane.port, tmp_path, TrainingRun.load):
        driver = Driver(plane, pipeline_folder)
        prepared = driver.prepare(0).prepare
        assert 0 < prepared.trainable_parameter_count < prepared.parameter_count
        driver.iterate(0)
        first = driver.iterate(1)
        state = tmp_path / "runs/run-1/checkpoints/000002/state.safetensors"
        before = state.read_bytes()
        first_pictures = [chunk.image.data for chunk in plane.submitted[-1] if chunk.HasField("image")]
        assert first.checkpoint_written

        driver.prepare(1)
        again = driver.iterate(1)
        assert dict(again.metrics.values) == dict(first.metrics.values)
        assert state.read_bytes() == before
        assert [chunk.image.data for chunk in plane.submitted[-1] if chunk.HasField("image")] == first_pictures

        exported = driver.do(policy_version=2, export=pb.ExportWork()).export
        assert exported.format == "lora"
        assert (tmp_path / "runs/run-1/export/pytorch_lora_weights.safetensors").exists()
