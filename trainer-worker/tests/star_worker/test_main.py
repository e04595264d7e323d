import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from control_plane import TIMEOUT_S, ControlPlane

from star_worker.config import read_settings

# Importing PyTorch and diffusers on a busy machine.
START_S = 120


def start(port, data_dir, *extra):
    command = [sys.executable, "-m", "star_worker", "--server", f"127.0.0.1:{port}", "--data-dir", str(data_dir)]
    return subprocess.Popen(
        [*command, "--worker-id", "w1", "--log-format", "json", *extra], stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, log = process.communicate(timeout=START_S)
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_sigterm_disconnects_and_ends_with_code_0(tmp_path):
    with ControlPlane() as plane:
        process = start(plane.port, tmp_path)
        connection = plane.connections.get(timeout=START_S)
        process.send_signal(signal.SIGTERM)
        log = finish(process)
        assert connection.ended.wait(TIMEOUT_S)
    assert process.returncode == 0
    assert any("SIGTERM" in event["message"] for event in log)
    assert log[-1]["message"] == "stopped"


def test_another_protocol_version_ends_with_code_3_and_a_message(tmp_path):
    with ControlPlane(refuse="PROTOCOL_VERSION_MISMATCH") as plane:
        process = start(plane.port, tmp_path)
        log = finish(process)
    assert process.returncode == 3
    assert log[-1]["level"] == "error"
    assert "PROTOCOL_VERSION_MISMATCH" in log[-1]["message"]


# Prints when it is told to stop.
WATCHER = """
import os, sys
from star_worker.stop_request import StopRequest, stop_with_parent
stop = StopRequest()
stop_with_parent(stop, os.getppid())
print("watching", flush=True)
print("stopped" if stop.wait(20) else "not stopped", flush=True)
os._exit(0)
"""


def test_the_worker_stops_when_its_parent_ends(tmp_path):
    out = tmp_path / "out.txt"
    parent = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', sys.argv[1]])\ntime.sleep(60)"
    with out.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", parent, WATCHER], stdout=file, start_new_session=True)
    try:
        wait_for(out, "watching")
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
    wait_for(out, "stopped")
    assert "not stopped" not in out.read_text()


def wait_for(path, text):
    for _ in range(int(TIMEOUT_S / 0.05)):
        if text in path.read_text():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"{text!r} did not appear in {path.read_text()!r}")


def test_flags_win_over_the_environment(tmp_path):
    environment = {"STAR_SERVER": "a:1", "STAR_DATA_DIR": str(tmp_path), "STAR_WORKER_ID": "from-env"}
    settings = read_settings(["--server", "b:2"], environment, is_terminal=False)
    assert (settings.server, settings.worker_id, settings.data_dir) == ("b:2", "from-env", tmp_path)
    assert settings.log_format == "json"
    assert settings.model_root == type(tmp_path)(os.getcwd())


@pytest.mark.parametrize(
    "arguments",
    [[], ["--server", "b:2"], ["--server", "b", "--data-dir", "d"], ["--server", "b:0", "--data-dir", "d"]],
)
def test_a_wrong_command_line_ends_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        read_settings(arguments, {}, is_terminal=True)
    assert caught.value.code == 2
    assert "--" in capsys.readouterr().err
