"""The worker from top to bottom: connect, hello, offers, and for every offer prepare, rollout, update or export.

The loaded model outlives a lost connection; the task at hand does not.
"""

import gc
import logging
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_worker.checkpoint import (
    Checkpoint,
    checkpoint_folder,
    config_hash,
    prune_checkpoints,
    read_state,
    run_folder,
    verify_checkpoint,
    write_checkpoint,
    written_aside,
)
from star_worker.config import WorkerSettings
from star_worker.control_client import ConnectionLost
from star_worker.errors import StarError
from star_worker.log_format import FIELDS
from star_worker.session import Session
from star_worker.stop_request import StopRequest
from star_worker.tasks import (
    ExportResult,
    InvalidOffer,
    PrepareWork,
    RolloutWork,
    TaskOffer,
    TaskResult,
    UpdateResult,
    UpdateWork,
)
from star_worker.types import CheckCancelled, PreparedModel, TrainingConfig

if TYPE_CHECKING:
    from star_worker.training_run import TrainingRun

_LOG = logging.getLogger(__name__)
LoadRun = Callable[[TrainingConfig, int, CheckCancelled], "TrainingRun"]
# In place of a digest: the state that loading gives.
_UNTRAINED = "untrained"


@dataclass(slots=True)
class _HeldRun:
    """The loaded model and what is known of its state."""

    run_id: str
    config: TrainingConfig
    run_seed: int
    run: "TrainingRun"
    # Digest of the checkpoint that equals the state; None: the state is in memory only.
    digest: str | None
    # False after an update that did not finish: the weights may be anything.
    is_intact: bool = True
    # Iteration whose trajectories are kept for the update.
    trajectory_iteration: int | None = None


def run_worker(settings: WorkerSettings, load_run: LoadRun, device: str, stop: StopRequest) -> None:
    """Serves the control plane until it says shutdown or `stop` is set; reconnects in between.

    Raises StarError PROTOCOL_VERSION_MISMATCH, which no retry can cure.
    """
    worker = Worker(settings, load_run)
    delays = _backoff(settings)
    while not stop.is_set():
        try:
            with Session(settings, device, stop) as session:
                _LOG.info("connected", extra={FIELDS: {"server": settings.server}})
                delays = _backoff(settings)
                worker.serve(session)
            return
        except (ConnectionLost, StarError) as error:
            if isinstance(error, StarError) and error.reason == "PROTOCOL_VERSION_MISMATCH":
                raise
            delay_s = next(delays)
            _LOG.warning("not connected: %s", error, extra={FIELDS: {"retry_in_s": round(delay_s, 2)}})
        stop.wait(delay_s)


def _backoff(settings: WorkerSettings) -> Iterator[float]:
    """Seconds between attempts: doubling up to the longest, each with jitter so that many workers do not march."""
    delay_s = settings.backoff_first_s
    while True:
        yield delay_s * random.uniform(0.5, 1.0)
        delay_s = min(2 * delay_s, settings.backoff_longest_s)


class Worker:
    """Does tasks, one at a time, on the run that it holds."""

    def __init__(self, settings: WorkerSettings, load_run: LoadRun) -> None:
        self._settings = settings
        self._load_run = load_run
        self._held: _HeldRun | None = None

    def serve(self, session: Session) -> None:
        """Does offers until there are no more. Raises ConnectionLost, unless the worker was leaving anyway."""
        try:
            self._serve_offers(session)
        except ConnectionLost:
            if not session.is_leaving:
                raise

    def _serve_offers(self, session: Session) -> None:
        for offer in session.offers():
            if isinstance(offer, InvalidOffer):
                _LOG.error("offer refused: %s", offer.error, extra={FIELDS: {"task_id": offer.task_id}})
                session.send_failed(offer.task_id, offer.lease_token, offer.error)
            else:
                self._do(offer, session)

    def _do(self, offer: TaskOffer, session: Session) -> None:
        """One task with its answer."""
        fields = _log_fields(offer)
        _LOG.info("task started", extra={FIELDS: fields})
        try:
            session.begin(offer)
            result = self._perform(offer, session)
            session.send_completed(offer, self._policy_version(), result)
            _LOG.info("task completed", extra={FIELDS: fields})
        except StarError as error:
            _LOG.warning("task failed: %s", error, extra={FIELDS: {**fields, "reason": error.reason}})
            session.send_failed(offer.task_id, offer.lease_token, _true_cause(error, session))
        except ConnectionLost:
            raise
        except Exception as error:
            error_id = uuid.uuid4().hex
            _LOG.exception("task failed", extra={FIELDS: {**fields, "reason": "INTERNAL", "error_id": error_id}})
            message = f"{type(error).__name__} in the worker; its log has the cause under error id {error_id}"
            session.send_failed(offer.task_id, offer.lease_token, StarError("INTERNAL", message))

    def _perform(self, offer: TaskOffer, session: Session) -> TaskResult:
        match offer.work:
            case PrepareWork() as work:
                return self._prepare(offer, work, session)
            case RolloutWork() as work:
                self._rollout(offer, work, session)
                return None
            case UpdateWork() as work:
                return self._update(offer, work, session)
            case _:
                return self._export(offer)

    def _prepare(self, offer: TaskOffer, work: PrepareWork, session: Session) -> PreparedModel:
        """Exactly the state of the policy version, loaded anew unless the held state is known to equal it."""
        checkpoint = self._checkpoint(offer, work)
        digest = _UNTRAINED if checkpoint is None else checkpoint.digest
        held = self._held
        if held is not None and held.is_intact:
            known = (held.run_id, held.config, held.run_seed, held.digest, held.run.policy_version)
            if known == (offer.run_id, work.config, work.run_seed, digest, offer.policy_version):
                held.trajectory_iteration = None
                return held.run.prepared
        held = None
        self._release()
        session.report_progress("loading", 0.0)
        config = _with_model_root(work.config, self._settings.model_root)
        run = self._load_run(config, work.run_seed, session.check_cancelled)
        if checkpoint is not None:
            run.load_state(read_state(checkpoint), checkpoint.policy_version)
        self._held = _HeldRun(offer.run_id, work.config, work.run_seed, run, digest)
        return run.prepared

    def _checkpoint(self, offer: TaskOffer, work: PrepareWork) -> Checkpoint | None:
        """The verified checkpoint to start from; None for the untrained model."""
        if offer.policy_version == 0:
            return None
        folder = checkpoint_folder(self._settings.data_dir, offer.run_id, offer.policy_version)
        return verify_checkpoint(folder, offer.policy_version, config_hash(work.config, work.run_seed))

    def _rollout(self, offer: TaskOffer, work: RolloutWork, session: Session) -> None:
        """Samples what the control plane lists and streams it up as it is finished."""
        held = self._require_held(offer)
        plan = session.client.fetch_rollout_plan(offer)
        count = sum(len(group.rollouts) for group in plan.groups)
        if count != work.rollout_count:
            raise StarError("ARGUMENT_INVALID", f"expected {work.rollout_count} rollouts, received specs of {count}")
        if plan.keep_trajectory:
            held.trajectory_iteration = None
        upload = session.client.submit_rollouts(offer, offer.policy_version, plan, held.config.capture.data_kind)
        try:
            held.run.rollout(plan, upload.add, session.report_progress, session.check_cancelled)
            upload.finish(count)
        except BaseException:
            upload.abandon()
            raise
        if plan.keep_trajectory:
            held.trajectory_iteration = offer.iteration

    def _update(self, offer: TaskOffer, work: UpdateWork, session: Session) -> UpdateResult:
        """Trains on the kept trajectories with the loss masks as they arrive; then a checkpoint where one is due."""
        held = self._require_held(offer)
        if held.trajectory_iteration != offer.iteration:
            raise StarError(
                "STATE_CONFLICT",
                f"expected trajectories of iteration {offer.iteration}, "
                f"the worker holds those of {held.trajectory_iteration}; repeat the rollout task",
            )
        held.trajectory_iteration, held.digest, held.is_intact = None, None, False
        session.report_progress("waiting for loss masks", 0.0)
        masks = session.client.fetch_loss_masks(offer)
        metrics = held.run.update(masks, offer.iteration, work.seed, session.report_progress, session.check_cancelled)
        held.is_intact = True
        path = None
        if work.force_checkpoint or (offer.iteration + 1) % held.config.checkpoint_every == 0:
            session.report_progress("writing the checkpoint", 0.0)
            path = str(self._write_checkpoint(held))
        return UpdateResult(metrics=metrics, checkpoint_path=path)

    def _write_checkpoint(self, held: _HeldRun) -> Path:
        version = held.run.policy_version
        checkpoint = write_checkpoint(
            checkpoint_folder(self._settings.data_dir, held.run_id, version),
            held.run.state_tensors(),
            version,
            config_hash(held.config, held.run_seed),
        )
        held.digest = checkpoint.digest
        prune_checkpoints(checkpoint, held.config.checkpoint_keep)
        return checkpoint.folder

    def _export(self, offer: TaskOffer) -> ExportResult:
        """The trained part in diffusers format; replaces an earlier export of the run."""
        held = self._require_held(offer)
        folder = run_folder(self._settings.data_dir, offer.run_id) / "export"
        with written_aside(folder) as aside:
            export_format = held.run.export(aside)
        return ExportResult(path=str(folder), format=export_format)

    def _require_held(self, offer: TaskOffer) -> _HeldRun:
        """The held run when it is the one that the offer needs. Raises StarError STATE_CONFLICT."""
        held = self._held
        if held is None or held.run_id != offer.run_id:
            holds = "none" if held is None else held.run_id
            raise StarError("STATE_CONFLICT", f"expected run {offer.run_id}, the worker holds {holds}; prepare first")
        if not held.is_intact:
            raise StarError("STATE_CONFLICT", f"run {offer.run_id}: the last update did not finish; prepare again")
        if held.run.policy_version != offer.policy_version:
            raise StarError(
                "STATE_CONFLICT",
                f"run {offer.run_id}: expected policy version {offer.policy_version}, "
                f"the worker holds {held.run.policy_version}; prepare again",
            )
        return held

    def _policy_version(self) -> int:
        return 0 if self._held is None else self._held.run.policy_version

    def _release(self) -> None:
        """Frees the held model before the next one is loaded: two may not fit into memory."""
        self._held = None
        gc.collect()


def _true_cause(error: StarError, session: Session) -> StarError:
    """A call that was cut off says CANCELLED; the session knows why."""
    if error.reason == "CANCELLED":
        try:
            session.check_cancelled()
        except StarError as cause:
            return cause
    return error


def _with_model_root(config: TrainingConfig, model_root: Path) -> TrainingConfig:
    """A relative path of a folder below `model_root` made absolute; a hub id stays as it is."""
    folder = model_root / config.model.path
    if not folder.is_dir():
        return config
    return replace(config, model=replace(config.model, path=str(folder)))


def _log_fields(offer: TaskOffer) -> dict[str, Any]:
    return {
        "run_id": offer.run_id,
        "iteration": offer.iteration,
        "task_id": offer.task_id,
        "work": type(offer.work).__name__,
        "attempt": offer.attempt,
        "policy_version": offer.policy_version,
    }
