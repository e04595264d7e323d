"""run_worker in a thread of the test."""

import threading

from control_plane import TIMEOUT_S, FakeRun

from star_worker.config import WorkerSettings
from star_worker.errors import StarError
from star_worker.stop_request import StopRequest
from star_worker.worker_loop import run_worker


class RunningWorker:
    """Use as a context manager. Without `load_run`, the model is a stand-in; `runs` has those made."""

    def __init__(self, port, data_dir, load_run=None):
        self.runs = []
        self.load_run = load_run or self._load
        self.stop = StopRequest()
        self.error = None
        self.settings = WorkerSettings(
            server=f"127.0.0.1:{port}",
            data_dir=data_dir,
            worker_id="w1",
            model_root=data_dir,
            log_format="text",
            exit_with_parent=False,
            backoff_first_s=0.02,
            backoff_longest_s=0.1,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _load(self, config, run_seed, check_cancelled):
        check_cancelled()
        self.runs.append(FakeRun(config, run_seed))
        return self.runs[-1]

    def _run(self):
        try:
            run_worker(self.settings, self.load_run, "cpu", self.stop)
        except StarError as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()

    def join(self):
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive()
