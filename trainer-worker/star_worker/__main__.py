"""`star-worker`: see `star-worker --help`."""

import logging
import os
import sys

from star_worker.config import read_settings
from star_worker.errors import StarError
from star_worker.log_format import FIELDS, start_logging
from star_worker.stop_request import StopRequest, stop_on_signals, stop_with_parent

_LOG = logging.getLogger(__name__)
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_PROTOCOL_VERSION = 3


def main() -> int:
    """Runs the worker; returns the exit code, which --help explains."""
    parent_id = os.getppid()
    settings = read_settings(sys.argv[1:], os.environ, sys.stderr.isatty())
    start_logging(settings.log_format)
    stop = StopRequest()
    stop_on_signals(stop)
    if settings.exit_with_parent:
        stop_with_parent(stop, parent_id)
    # PyTorch takes seconds to import: after --help, and after signals are taken.
    import torch

    from star_worker.training_run import TrainingRun
    from star_worker.worker_loop import run_worker

    device = "cuda" if torch.cuda.is_available() else "cpu"
    _LOG.info("starting", extra={FIELDS: {"worker_id": settings.worker_id, "device": device, "pid": os.getpid()}})
    try:
        run_worker(settings, TrainingRun.load, device, stop)
    except StarError as error:
        _LOG.error("%s: %s", error.reason, error.message)
        return EXIT_PROTOCOL_VERSION if error.reason == "PROTOCOL_VERSION_MISMATCH" else EXIT_FAILED
    except Exception:
        _LOG.exception("the worker ends")
        return EXIT_FAILED
    _LOG.info("stopped")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
