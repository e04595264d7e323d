import pytest
from control_plane import config_message, group_message, mask_message, plan_chunks

from star_worker.errors import StarError
from star_worker.gen.star.v1 import rollout_pb2, tensor_pb2, training_config_pb2
from star_worker.gen.star.v1 import worker_service_pb2 as pb
from star_worker.incoming_messages import control_message, loss_mask, rollout_plan, wire_tensor
from star_worker.outgoing_messages import task_completed, task_failed
from star_worker.tasks import ExportWork, InvalidOffer, TaskOffer, UpdateResult, Welcome
from star_worker.training_config_message import training_config
from star_worker.types import ForwardProcessConfig, KlConfig, UpdateMetrics


def reason_of(action):
    with pytest.raises(StarError) as caught:
        action()
    return caught.value.reason


def test_a_configuration_is_read_in_full():
    config = training_config(config_message())
    assert (config.model.lora.rank, config.model.lora.alpha, config.model.lora.target_modules) == (2, 4, ("to_q",))
    assert (config.sampling.sigmas, config.sampling.sampler) == ((1.0, 0.5, 0.0), "flow_sde")
    assert (config.capture.blocks, config.capture.data_kind) == ((1,), "uint8")
    assert (config.objective.ratio_level, config.objective.clip_range) == ("position", 1e-3)
    assert (config.objective.trust_region, config.objective.step_weight) == ("clip", "none")
    assert config.objective.kl.target is None
    assert config.optimizer.ema_decay is None
    assert (config.optimizer.beta2, config.optimizer.warmup_step_count) == (0.99, 0)


def test_full_fine_tune_and_forward_process():
    message = config_message()
    message.model.ClearField("lora")
    message.objective.forward_process.CopyFrom(
        training_config_pb2.ForwardProcessConfig(
            form="FORM_AWM",
            beta=0.1,
            noise_level_count=2,
            ratio_level="RATIO_LEVEL_GSPO_TOKEN",
            kl=training_config_pb2.KlConfig(kind="KIND_VELOCITY", beta=0.2, target=0.5),
        )
    )
    message.optimizer.ema_decay = 0.9
    config = training_config(message)
    assert config.model.lora is None
    assert isinstance(config.objective, ForwardProcessConfig)
    assert (config.objective.beta, config.objective.noise_level_count) == (0.1, 2)
    assert (config.objective.form, config.objective.ratio_level) == ("awm", "gspo_token")
    assert config.objective.kl == KlConfig(kind="velocity", beta=0.2, target=0.5)
    assert config.optimizer.ema_decay == 0.9


def edited(edit):
    message = config_message()
    edit(message)
    return message


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.ClearField("model"),
        lambda m: m.ClearField("objective"),
        lambda m: m.objective.ClearField("policy_gradient"),
        lambda m: setattr(m.sampling, "sampler", 0),
        lambda m: setattr(m.sampling, "sampler", 77),
        lambda m: setattr(m.capture, "data_kind", 0),
        lambda m: setattr(m.objective.policy_gradient, "ratio_level", 0),
        lambda m: setattr(m.objective.policy_gradient, "trust_region", 0),
        lambda m: setattr(m.objective.policy_gradient, "step_weight", 0),
        lambda m: m.objective.policy_gradient.ClearField("kl"),
        lambda m: setattr(m.model, "precision", "float8"),
        lambda m: setattr(m.model, "path", ""),
        lambda m: setattr(m.model, "height", 0),
        lambda m: setattr(m.model.lora, "rank", 0),
        lambda m: m.model.lora.ClearField("target_modules"),
        lambda m: setattr(m, "micro_batch_size", 0),
        lambda m: setattr(m, "checkpoint_every", 0),
        lambda m: setattr(m, "thread_count", -1),
        lambda m: m.sampling.sigmas.append(0.5),
        lambda m: m.sampling.ClearField("sigmas"),
        lambda m: setattr(m.sampling, "window_size", 3),
    ],
)
def test_a_bad_configuration_is_refused(edit):
    assert reason_of(lambda: training_config(edited(edit))) == "ARGUMENT_INVALID"


def test_a_rollout_task_is_read_in_full():
    plan = rollout_plan(iter(plan_chunks(group_message())), iteration=4)
    assert (plan.iteration, plan.window_size, plan.keep_trajectory) == (4, 1, True)
    [group] = plan.groups
    assert [(each.rollout_id, each.seed) for each in group.rollouts] == [("r0", 100), ("r1", 101)]
    assert group.attention_masks == {0: (0,)}
    assert [(span.start, span.end, span.concept_index) for span in group.core_spans] == [(2, 12, 0)]


def changed_group(edit):
    group = group_message()
    edit(group)
    return plan_chunks(group)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        plan_chunks(group_message())[1:],
        plan_chunks(group_message())[:1],
        plan_chunks(group_message(), group_count=2),
        plan_chunks(group_message())[:1] * 2,
        plan_chunks(group_message(), sigmas=[1.0, 1.0, 0.0]),
        plan_chunks(group_message(), window_size=-1),
        plan_chunks(group_message(rollout_count=0)),
        changed_group(lambda g: setattr(g.rollouts[1], "rollout_id", "r0")),
        changed_group(lambda g: setattr(g.core_spans[0], "end", 13)),
        changed_group(lambda g: setattr(g.attention_masks[0], "step_index", 2)),
        changed_group(lambda g: g.attention_masks.append(rollout_pb2.AttentionMask(step_index=0))),
    ],
)
def test_a_bad_rollout_task_is_refused(chunks):
    assert reason_of(lambda: rollout_plan(iter(chunks), iteration=0)) == "ARGUMENT_INVALID"


def test_a_missing_advantage_stays_missing():
    message = mask_message("r0", None)
    assert loss_mask(message).advantage is None
    message.advantage = 0.0
    assert loss_mask(message).advantage == 0.0


def test_a_mask_without_maps_has_none():
    message = mask_message("r0", 1.0)
    message.ClearField("allocation_maps")
    message.ClearField("scales")
    message.ClearField("step_indexes")
    assert loss_mask(message).allocation_maps is None


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda m: setattr(m, "advantage", float("nan")), "ARGUMENT_INVALID"),
        (lambda m: setattr(m, "rollout_id", ""), "ARGUMENT_INVALID"),
        (lambda m: m.step_indexes.append(0), "ARGUMENT_INVALID"),
        (lambda m: m.step_indexes.append(1), "TENSOR_INVALID"),
        (lambda m: m.scales.append(1.0), "TENSOR_INVALID"),
        (lambda m: setattr(m.allocation_maps, "data", b"\1\2\3"), "TENSOR_INVALID"),
        (lambda m: setattr(m.allocation_maps, "data_type", 0), "TENSOR_INVALID"),
        (lambda m: m.allocation_maps.shape.append(1), "TENSOR_INVALID"),
    ],
)
def test_a_bad_loss_mask_is_refused(edit, reason):
    message = mask_message("r0", 1.0)
    edit(message)
    assert reason_of(lambda: loss_mask(message)) == reason


def test_an_unknown_element_type_is_refused():
    assert reason_of(lambda: wire_tensor(tensor_pb2.Tensor(data_type=99))) == "TENSOR_INVALID"


def test_a_control_message_of_no_known_kind_is_refused():
    assert reason_of(lambda: control_message(pb.ConnectResponse())) == "ARGUMENT_INVALID"
    zero = pb.ConnectResponse(welcome=pb.Welcome(heartbeat_interval_ms=0))
    assert reason_of(lambda: control_message(zero)) == "ARGUMENT_INVALID"
    assert control_message(pb.ConnectResponse(welcome=pb.Welcome(heartbeat_interval_ms=1500))) == Welcome(
        heartbeat_interval_s=1.5
    )


@pytest.mark.parametrize(
    "changes",
    [{"run_id": ".."}, {"run_id": "a/b"}, {"run_id": ""}, {"iteration": -1}, {"policy_version": -1}, {"export": None}],
)
def test_a_bad_offer_keeps_what_its_answer_needs(changes):
    given = {"task_id": "t", "run_id": "run", "lease_token": "l", "export": pb.ExportWork()} | changes
    offer = control_message(pb.ConnectResponse(offer=pb.TaskOffer(**given)))
    assert isinstance(offer, InvalidOffer)
    assert (offer.task_id, offer.lease_token, offer.error.reason) == ("t", "l", "ARGUMENT_INVALID")


OFFER = TaskOffer(
    task_id="t", run_id="run", iteration=0, lease_token="l", attempt=1, policy_version=0, work=ExportWork()
)


def test_metrics_that_are_not_finite_do_not_leave():
    metrics = UpdateMetrics(values={"loss": float("inf")}, seconds={})
    result = UpdateResult(metrics=metrics, checkpoint_path=None)
    assert reason_of(lambda: task_completed(OFFER, 1, result)) == "NOT_FINITE"


def test_every_reason_of_the_worker_is_on_the_wire():
    from star_worker.control_client import _REASONS

    for reason in _REASONS:
        assert task_failed("t", "l", StarError(reason, "message")).failed.reason > 0
