"""The worker's end of the mask stream: reads the loss masks of every update task and reports bytes and seconds.

Started by server-ts/bench/mask-stream.ts with the control plane's HOST:PORT; ends when that one ends.
"""

import sys
from pathlib import Path
from time import perf_counter

from star_worker.config import WorkerSettings
from star_worker.session import Session
from star_worker.stop_request import StopRequest
from star_worker.tasks import InvalidOffer, TaskOffer, TaskResult, UpdateResult, UpdateWork
from star_worker.types import PreparedModel, UpdateMetrics

_MODEL = PreparedModel(
    trainable_parameter_count=1,
    parameter_count=1,
    token_rows=32,
    token_columns=32,
    values_per_token=64,
    environment={},
)


def main(server: str) -> None:
    """Serves offers until the control plane says shutdown."""
    settings = WorkerSettings(
        server=server,
        data_dir=Path("."),
        worker_id="mask-stream-reader",
        model_root=Path("."),
        log_format="text",
        exit_with_parent=False,
    )
    with Session(settings, "cpu", StopRequest()) as session:
        for offer in session.offers():
            if isinstance(offer, InvalidOffer):
                raise offer.error
            session.begin(offer)
            version = offer.policy_version + isinstance(offer.work, UpdateWork)
            session.send_completed(offer, version, _perform(offer, session))


def _perform(offer: TaskOffer, session: Session) -> TaskResult:
    if not isinstance(offer.work, UpdateWork):
        return _MODEL
    start = perf_counter()
    masks = session.client.fetch_loss_masks(offer)
    byte_count = sum(mask.allocation_maps.nbytes for mask in masks if mask.allocation_maps is not None)
    seconds = perf_counter() - start
    values = {"bytes": float(byte_count), "seconds": seconds}
    return UpdateResult(metrics=UpdateMetrics(values=values, seconds={}), checkpoint_path=None)


if __name__ == "__main__":
    main(sys.argv[1])
