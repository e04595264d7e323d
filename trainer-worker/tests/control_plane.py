"""A control plane for tests: a real gRPC server scripted by the test, and a small stand-in for TrainingRun."""

import hashlib
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import torch

from star_worker import PROTOCOL_VERSION
from star_worker.gen.star.v1 import rollout_pb2, tensor_pb2, training_config_pb2, update_pb2
from star_worker.gen.star.v1 import worker_service_pb2 as pb
from star_worker.gen.star.v1 import worker_service_pb2_grpc as pb_grpc
from star_worker.types import AttentionMaps, FinishedRollout, PreparedModel, UpdateMetrics

# Generous: machines are busy.
TIMEOUT_S = 60.0
SIGMAS = [1.0, 0.5, 0.0]


def config_message(**changes):
    config = training_config_pb2.TrainingConfig(
        model=training_config_pb2.ModelConfig(
            path="tiny",
            precision="float32",
            height=64,
            width=64,
            max_sequence_length=16,
            lora=training_config_pb2.LoraConfig(rank=2, alpha=4, target_modules=["to_q"]),
        ),
        sampling=training_config_pb2.SamplingConfig(
            sigmas=SIGMAS, sampler="SAMPLER_FLOW_SDE", noise_level=0.7, window_size=1, guidance_scale=1
        ),
        capture=training_config_pb2.CaptureConfig(blocks=[1], t5_weight=0.7, data_kind="DATA_KIND_UINT8"),
        objective=training_config_pb2.ObjectiveConfig(
            policy_gradient=training_config_pb2.PolicyGradientConfig(
                ratio_level="RATIO_LEVEL_POSITION",
                trust_region="TRUST_REGION_CLIP",
                clip_range=1e-3,
                step_weight="STEP_WEIGHT_NONE",
                kl=training_config_pb2.KlConfig(kind="KIND_NONE"),
                optimizer_step_count=1,
                on_policy_tolerance=1e-6,
            )
        ),
        optimizer=training_config_pb2.OptimizerConfig(learning_rate=1e-3, beta1=0.9, beta2=0.99, epsilon=1e-8),
        micro_batch_size=4,
        checkpoint_every=2,
        checkpoint_keep=2,
    )
    config.MergeFrom(training_config_pb2.TrainingConfig(**changes))
    return config


def group_message(prompt="a red square", rollout_count=2):
    return rollout_pb2.RolloutGroup(
        prompt_index=0,
        prompt=prompt,
        prompt_hash=hashlib.sha256(prompt.encode()).hexdigest(),
        rollouts=[
            rollout_pb2.RolloutSpec(rollout_id=f"r{index}", rollout_index=index, seed=100 + index)
            for index in range(rollout_count)
        ],
        core_spans=[rollout_pb2.CoreSpan(start=2, end=12, concept_index=0)],
        attention_masks=[rollout_pb2.AttentionMask(step_index=0, concept_indexes=[0])],
    )


def plan_chunks(group, group_count=1, **header):
    given = {"sigmas": SIGMAS, "window_size": 1, "keep_trajectory": True} | header
    parts = [
        rollout_pb2.AttentionMaskChunk(header=rollout_pb2.RolloutTaskHeader(group_count=group_count, **given)),
        rollout_pb2.AttentionMaskChunk(group=group),
    ]
    return [pb.FetchRolloutTaskResponse(chunk=part) for part in parts]


def mask_message(rollout_id, advantage):
    maps = tensor_pb2.Tensor(data_type="DATA_TYPE_UINT8", shape=[1, 2, 2], data=bytes([0, 128, 128, 255]))
    return update_pb2.LossMask(
        rollout_id=rollout_id, advantage=advantage, allocation_maps=maps, scales=[1 / 128], step_indexes=[0]
    )


class FakeRun:
    """State: one number that every update adds the advantages to. Records what it was asked for."""

    loads = 0

    def __init__(self, config, run_seed):
        self.config = config
        self.policy_version = 0
        self.value = torch.tensor([float(run_seed)])
        self.plans = []
        self.masks = []
        self.image = b"\x89PNG" + bytes(2_500_000)
        # Called in the middle of rollout and update.
        self.in_the_middle = lambda: None
        self.check_cancelled = lambda: None
        self.prepared = PreparedModel(
            trainable_parameter_count=1,
            parameter_count=2,
            token_rows=2,
            token_columns=2,
            values_per_token=32,
            environment={"torch": "test"},
        )

    def rollout(self, plan, on_rollout, progress, check_cancelled):
        self.plans.append(plan)
        self.check_cancelled = check_cancelled
        for group in plan.groups:
            for spec in group.rollouts:
                progress("sampling", 0.5)
                self.in_the_middle()
                check_cancelled()
                values = np.array([[[[0.5, 0.9], [1.1, 1.5]]]], dtype=np.float32)
                maps = AttentionMaps(values=values, step_indexes=(0,), unmapped_concept_indexes=())
                on_rollout(
                    FinishedRollout(
                        rollout_id=spec.rollout_id,
                        seed=spec.seed,
                        prompt_hash=group.prompt_hash,
                        image_png=self.image,
                        attention=maps,
                    )
                )

    def update(self, loss_masks, iteration, seed, progress, check_cancelled):
        for mask in loss_masks:
            self.masks.append(mask)
            self.value = self.value + mask.advantage
            self.in_the_middle()
            check_cancelled()
        self.policy_version += 1
        return UpdateMetrics(values={"loss": 0.25}, seconds={"optimise": 0.1})

    def state_tensors(self):
        return {"value": self.value}

    def load_state(self, tensors, policy_version):
        self.value = tensors["value"]
        self.policy_version = policy_version

    def export(self, folder):
        (folder / "adapter.safetensors").write_bytes(b"adapter")
        return "lora"


class ControlPlane(pb_grpc.WorkerServiceServicer):
    """Use as a context manager. `offer` sends one; `answer` waits for completed or failed; streams are numbered."""

    def __init__(self, port=0, refuse=None):
        self.refuse = refuse
        self.plan = plan_chunks(group_message())
        self.masks = [mask_message("r0", 1.5), mask_message("r1", -0.5)]
        self.masks_ready = threading.Event()
        self.masks_ready.set()
        self.submitted = []
        self.submit_error = None
        self.connections = queue.Queue()
        self.server = grpc.server(ThreadPoolExecutor(12), options=[("grpc.max_receive_message_length", 16 << 20)])
        pb_grpc.add_WorkerServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.masks_ready.set()
        self.server.stop(grace=None).wait(TIMEOUT_S)

    def connection(self):
        return self.connections.get(timeout=TIMEOUT_S)

    # ---- service

    def Connect(self, request_iterator, context):
        hello = next(request_iterator).hello
        if self.refuse is not None:
            context.set_trailing_metadata((("star-reason", self.refuse),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"refused: {self.refuse}")
        assert hello.protocol_version == PROTOCOL_VERSION
        connection = Connection(hello, context)
        threading.Thread(target=connection.read, args=(request_iterator,), daemon=True).start()
        yield pb.ConnectResponse(welcome=pb.Welcome(heartbeat_interval_ms=50))
        self.connections.put(connection)
        while (message := connection.outbox.get()) is not None:
            yield message

    def FetchRolloutTask(self, request, context):
        yield from self.plan

    def SubmitRollouts(self, request_iterator, context):
        if self.submit_error is not None:
            context.set_trailing_metadata((("star-reason", self.submit_error),))
            context.abort(grpc.StatusCode.ABORTED, "not with this lease")
        chunks = [request.chunk for request in request_iterator]
        self.submitted.append(chunks)
        return pb.SubmitRolloutsResponse(accepted_count=sum(chunk.HasField("result") for chunk in chunks))

    def FetchLossMasks(self, request, context):
        self.masks_ready.wait(TIMEOUT_S)
        for mask in self.masks:
            yield pb.FetchLossMasksResponse(chunk=update_pb2.LossMaskChunk(masks=[mask]))


class Connection:
    """One control stream as the control plane sees it."""

    def __init__(self, hello, context):
        self.hello = hello
        self.context = context
        self.outbox = queue.Queue()
        self.answers = queue.Queue()
        self.heartbeats = queue.Queue()
        self.progress = queue.Queue()
        self.ended = threading.Event()
        self._count = 0

    def read(self, requests):
        kinds = {"heartbeat": self.heartbeats, "progress": self.progress}
        try:
            for request in requests:
                kind = request.WhichOneof("message")
                kinds.get(kind, self.answers).put(getattr(request, kind))
        except grpc.RpcError:
            pass
        finally:
            self.ended.set()
            self.outbox.put(None)

    def offer(self, policy_version=0, iteration=0, run_id="run-1", **work):
        self._count += 1
        task_id = f"task-{self._count}-{next(iter(work))}"
        self.outbox.put(
            pb.ConnectResponse(
                offer=pb.TaskOffer(
                    task_id=task_id,
                    run_id=run_id,
                    iteration=iteration,
                    lease_token=f"lease-{self._count}",
                    attempt=1,
                    policy_version=policy_version,
                    **work,
                )
            )
        )
        return task_id

    def prepare(self, policy_version=0, config=None, run_seed=5):
        work = pb.PrepareWork(config=config or config_message(), run_seed=run_seed)
        return self.offer(policy_version, prepare=work)

    def cancel(self, task_id):
        self.outbox.put(pb.ConnectResponse(cancel=pb.CancelTask(task_id=task_id)))

    def shutdown(self):
        self.outbox.put(pb.ConnectResponse(shutdown=pb.Shutdown(message="test is over")))

    def drop(self):
        self.context.cancel()

    def answer(self):
        return self.answers.get(timeout=TIMEOUT_S)


def reason_name(failed):
    from star_worker.gen.star.v1 import error_reason_pb2

    assert isinstance(failed, pb.TaskFailed), failed
    return error_reason_pb2.ErrorReason.Name(failed.reason).removeprefix("ERROR_REASON_")


def completed(answer):
    assert isinstance(answer, pb.TaskCompleted), answer
    return answer
