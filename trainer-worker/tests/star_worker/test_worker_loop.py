import threading
import time

import pytest
from control_plane import (
    SIGMAS,
    TIMEOUT_S,
    ControlPlane,
    completed,
    config_message,
    group_message,
    mask_message,
    plan_chunks,
    reason_name,
)
from running_worker import RunningWorker

from star_worker.errors import StarError
from star_worker.gen.star.v1 import worker_service_pb2 as pb

ROLLOUT = {"rollout": pb.RolloutWork(rollout_count=2)}
UPDATE = {"update": pb.UpdateWork(seed=9)}


@pytest.fixture
def plane():
    with ControlPlane() as server:
        yield server


@pytest.fixture
def worker(plane, tmp_path):
    with RunningWorker(plane.port, tmp_path) as running:
        yield running


@pytest.fixture
def connection(plane, worker):
    return plane.connection()


def do(connection, **offer):
    connection.offer(**offer)
    return completed(connection.answer())


def prepare(connection, **arguments):
    connection.prepare(**arguments)
    return completed(connection.answer())


def iterate(connection, iteration):
    do(connection, policy_version=iteration, iteration=iteration, **ROLLOUT)
    return do(connection, policy_version=iteration, iteration=iteration, **UPDATE)


def test_a_whole_cycle(plane, worker, connection, tmp_path):
    assert (connection.hello.worker_id, connection.hello.device) == ("w1", "cpu")
    answer = prepare(connection)
    assert (answer.policy_version, answer.prepare.token_rows, answer.prepare.values_per_token) == (0, 2, 32)

    answer = do(connection, **ROLLOUT)
    assert (answer.policy_version, answer.WhichOneof("result")) == (0, None)
    echo, *chunks = plane.submitted[0]
    assert (echo.echo.task_id, echo.echo.lease_token, list(echo.echo.sigmas)) == ("task-2-rollout", "lease-2", SIGMAS)
    results = [chunk.result for chunk in chunks if chunk.HasField("result")]
    assert [(each.rollout_id, each.seed) for each in results] == [("r0", 100), ("r1", 101)]
    assert list(results[0].attention.values.data) == [0, 102, 153, 255]
    pieces = [chunk.image for chunk in chunks if chunk.HasField("image") and chunk.image.rollout_id == "r1"]
    assert b"".join(piece.data for piece in pieces) == worker.runs[0].image
    assert max(len(piece.data) for piece in pieces) <= 1024 * 1024
    assert [piece.offset for piece in pieces] == [0, 1 << 20, 2 << 20]

    answer = do(connection, **UPDATE)
    assert answer.policy_version == 1
    assert dict(answer.update.metrics.values) == {"loss": 0.25}
    assert not answer.update.checkpoint_written
    assert [mask.advantage for mask in worker.runs[0].masks] == [1.5, -0.5]
    assert worker.runs[0].masks[0].allocation_maps.mean() == pytest.approx(1, abs=1e-7)

    answer = iterate(connection, 1)
    folder = tmp_path / "runs/run-1/checkpoints/000002"
    assert (answer.update.checkpoint_written, answer.update.checkpoint_path) == (True, str(folder))
    assert (folder / "state.safetensors").exists()

    answer = do(connection, policy_version=2, export=pb.ExportWork())
    assert (answer.export.format, answer.export.path) == ("lora", str(tmp_path / "runs/run-1/export"))
    assert (tmp_path / "runs/run-1/export/adapter.safetensors").read_bytes() == b"adapter"

    connection.shutdown()
    worker.join()
    assert worker.error is None


def test_force_checkpoint_writes_one_whatever_the_interval_says(connection, tmp_path):
    prepare(connection)
    do(connection, **ROLLOUT)
    answer = do(connection, update=pb.UpdateWork(seed=1, force_checkpoint=True))
    assert answer.update.checkpoint_path == str(tmp_path / "runs/run-1/checkpoints/000001")


def test_prepare_restores_exactly_the_version_asked_for(worker, connection):
    prepare(connection)
    for iteration in range(3):
        iterate(connection, iteration)
    assert worker.runs[-1].value.item() == 5 + 3
    prepare(connection, policy_version=2)
    assert (worker.runs[-1].value.item(), worker.runs[-1].policy_version, len(worker.runs)) == (5 + 2, 2, 2)
    prepare(connection, policy_version=0)
    assert (worker.runs[-1].value.item(), worker.runs[-1].policy_version, len(worker.runs)) == (5, 0, 3)
    connection.prepare(policy_version=3)
    assert reason_name(connection.answer()) == "CHECKPOINT_INVALID"


def test_another_seed_or_configuration_is_loaded_anew(worker, connection):
    prepare(connection)
    prepare(connection)
    assert len(worker.runs) == 1
    prepare(connection, run_seed=6)
    prepare(connection, run_seed=6, config=config_message(micro_batch_size=8))
    assert len(worker.runs) == 3


def test_a_damaged_checkpoint_is_not_loaded(connection, tmp_path):
    prepare(connection)
    iterate(connection, 0)
    iterate(connection, 1)
    state = tmp_path / "runs/run-1/checkpoints/000002/state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"\xff")
    connection.prepare(policy_version=2)
    assert reason_name(connection.answer()) == "CHECKPOINT_INVALID"


def test_evaluation_does_not_disturb_the_kept_trajectories(plane, worker, connection):
    prepare(connection)
    do(connection, **ROLLOUT)
    plane.plan = plan_chunks(group_message(), keep_trajectory=False)
    do(connection, iteration=7, **ROLLOUT)
    assert [plan.keep_trajectory for plan in worker.runs[0].plans] == [True, False]
    do(connection, **UPDATE)


def test_an_update_without_rollouts_of_its_iteration_is_a_conflict(connection):
    prepare(connection)
    do(connection, **ROLLOUT)
    connection.offer(iteration=1, **UPDATE)
    assert reason_name(connection.answer()) == "STATE_CONFLICT"


@pytest.mark.parametrize("offer", [{"policy_version": 1}, {"run_id": "run-2"}])
def test_work_for_another_version_or_run_is_a_conflict(connection, offer):
    prepare(connection)
    for work in (ROLLOUT, UPDATE, {"export": pb.ExportWork()}):
        connection.offer(**offer, **work)
        failed = connection.answer()
        assert reason_name(failed) == "STATE_CONFLICT"
        assert "prepare" in failed.message


def test_a_version_mismatch_ends_the_worker_without_a_retry(tmp_path):
    with ControlPlane(refuse="PROTOCOL_VERSION_MISMATCH") as plane, RunningWorker(plane.port, tmp_path) as worker:
        worker.join()
        assert worker.error.reason == "PROTOCOL_VERSION_MISMATCH"
        assert "refused" in worker.error.message


def sample_until_cancelled(run, entered):
    entered.set()
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        run.check_cancelled()
        threading.Event().wait(0.01)


def test_cancel_in_the_middle_of_a_rollout(worker, connection):
    prepare(connection)
    run, entered = worker.runs[0], threading.Event()
    run.in_the_middle = lambda: sample_until_cancelled(run, entered)
    task_id = connection.offer(**ROLLOUT)
    assert entered.wait(TIMEOUT_S)
    connection.cancel("another task")
    connection.cancel(task_id)
    failed = connection.answer()
    assert (failed.task_id, failed.lease_token, reason_name(failed)) == (task_id, "lease-2", "CANCELLED")
    run.in_the_middle = lambda: None
    assert do(connection, **ROLLOUT).policy_version == 0


def test_cancel_while_waiting_for_loss_masks(plane, worker, connection):
    prepare(connection)
    do(connection, **ROLLOUT)
    plane.masks_ready.clear()
    task_id = connection.offer(**UPDATE)
    while connection.progress.get(timeout=TIMEOUT_S).phase != "waiting for loss masks":
        pass
    connection.cancel(task_id)
    failed = connection.answer()
    assert (failed.task_id, reason_name(failed)) == (task_id, "CANCELLED")
    plane.masks_ready.set()
    connection.offer(**ROLLOUT)
    assert reason_name(connection.answer()) == "STATE_CONFLICT"
    prepare(connection)
    assert len(worker.runs) == 2


def test_a_dropped_stream_is_reconnected_and_the_model_stays(plane, worker, connection):
    prepare(connection)
    connection.drop()
    second = plane.connection()
    prepare(second)
    assert len(worker.runs) == 1
    do(second, **ROLLOUT)


def test_a_dropped_stream_ends_the_task_at_hand(plane, worker, connection):
    prepare(connection)
    do(connection, **ROLLOUT)
    plane.masks_ready.clear()
    connection.offer(**UPDATE)
    while connection.progress.get(timeout=TIMEOUT_S).phase != "waiting for loss masks":
        pass
    connection.drop()
    second = plane.connection()
    prepare(second)
    assert len(worker.runs) == 2
    assert second.answers.empty()


def test_the_worker_waits_for_a_control_plane_that_restarts(tmp_path):
    with ControlPlane() as first, RunningWorker(first.port, tmp_path) as worker:
        prepare(first.connection())
        first.server.stop(grace=None).wait(TIMEOUT_S)
        with ControlPlane(port=first.port) as second:
            prepare(second.connection())
        assert len(worker.runs) == 1


def test_a_known_failure_keeps_its_reason_and_the_worker_goes_on(worker, connection):
    prepare(connection)

    def fail():
        raise StarError("NOT_FINITE", "latent of r0: expected finite values, received NaN")

    worker.runs[0].in_the_middle = fail
    connection.offer(**ROLLOUT)
    failed = connection.answer()
    assert reason_name(failed) == "NOT_FINITE"
    assert failed.message == "latent of r0: expected finite values, received NaN"
    worker.runs[0].in_the_middle = lambda: None
    do(connection, **ROLLOUT)


def test_an_unknown_failure_leaves_as_an_id_that_the_log_has(worker, connection, caplog):
    prepare(connection)

    def fail():
        raise RuntimeError("secret detail")

    worker.runs[0].in_the_middle = fail
    connection.offer(**ROLLOUT)
    failed = connection.answer()
    assert reason_name(failed) == "INTERNAL"
    assert "secret" not in failed.message
    error_id = failed.message.rsplit(" ", 1)[-1]
    record = next(each for each in caplog.records if each.exc_info)
    assert record.star_fields["error_id"] == error_id
    assert "secret detail" in str(record.exc_info[1])


def test_a_refused_upload_fails_with_the_reason_of_the_control_plane(plane, connection):
    prepare(connection)
    plane.submit_error = "LEASE_EXPIRED"
    connection.offer(**ROLLOUT)
    failed = connection.answer()
    assert (reason_name(failed), failed.message) == ("LEASE_EXPIRED", "not with this lease")


def test_bad_loss_masks_fail_the_update(plane, connection):
    prepare(connection)
    do(connection, **ROLLOUT)
    bad = mask_message("r0", 1.0)
    bad.allocation_maps.data = b"\0"
    plane.masks = [bad]
    connection.offer(**UPDATE)
    assert reason_name(connection.answer()) == "TENSOR_INVALID"


def test_an_offer_that_makes_no_sense_is_answered(connection):
    connection.prepare(config=config_message(model={"precision": "int4"}))
    failed = connection.answer()
    assert reason_name(failed) == "ARGUMENT_INVALID"
    assert "int4" in failed.message
    connection.offer(run_id="../../etc", **ROLLOUT)
    assert reason_name(connection.answer()) == "ARGUMENT_INVALID"


def test_heartbeats_name_the_task_at_hand(worker, connection):
    prepare(connection)
    proceed = threading.Event()
    worker.runs[0].in_the_middle = lambda: proceed.wait(TIMEOUT_S)
    task_id = connection.offer(**ROLLOUT)
    while (beat := connection.heartbeats.get(timeout=TIMEOUT_S)).task_id != task_id:
        pass
    assert beat.lease_token == "lease-2"
    proceed.set()
    completed(connection.answer())
    while connection.heartbeats.get(timeout=TIMEOUT_S).task_id != "":
        pass


def test_stop_drops_the_task_and_says_so(worker, connection):
    prepare(connection)
    worker.runs[0].in_the_middle = worker.stop.set
    connection.offer(**ROLLOUT)
    assert reason_name(connection.answer()) == "WORKER_LOST"
    assert connection.ended.wait(TIMEOUT_S)
    worker.join()


def test_shutdown_in_the_middle_of_a_task_ends_the_worker_even_when_the_stream_is_gone(worker, connection):
    prepare(connection)
    run, entered = worker.runs[0], threading.Event()
    run.in_the_middle = lambda: sample_until_cancelled(run, entered)
    connection.offer(**ROLLOUT)
    assert entered.wait(TIMEOUT_S)
    connection.shutdown()
    connection.outbox.put(None)
    worker.join()
    assert worker.error is None


def test_a_relative_model_folder_is_found_under_the_model_root(worker, connection, tmp_path):
    (tmp_path / "tiny").mkdir()
    prepare(connection)
    assert worker.runs[0].config.model.path == str(tmp_path / "tiny")
