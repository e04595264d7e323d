import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from control_plane import config_message

from star_worker import checkpoint as module
from star_worker.checkpoint import (
    checkpoint_folder,
    config_hash,
    prune_checkpoints,
    read_state,
    verify_checkpoint,
    write_checkpoint,
)
from star_worker.errors import StarError
from star_worker.training_config_message import training_config

STATE = {"lora.a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "optimizer.step": torch.tensor(7)}


def reason_of(action):
    with pytest.raises(StarError) as caught:
        action()
    return caught.value.reason


def write(tmp_path, version, state=STATE):
    return write_checkpoint(checkpoint_folder(tmp_path, "run-1", version), state, version, "hash")


def test_a_state_comes_back_exactly(tmp_path):
    written = write(tmp_path, 3)
    assert written.folder == tmp_path / "runs/run-1/checkpoints/000003"
    found = verify_checkpoint(written.folder, 3, "hash")
    state = read_state(found)
    assert found == written
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) and state[name].dtype == STATE[name].dtype for name in STATE)
    assert sorted(path.name for path in written.folder.iterdir()) == ["manifest.json", "state.safetensors"]


def test_equal_states_have_equal_digests(tmp_path):
    assert write(tmp_path, 3).digest == write(tmp_path, 4).digest
    assert write(tmp_path, 5, {"lora.a": torch.zeros(1)}).digest != write(tmp_path, 4).digest


@pytest.mark.parametrize("damage", ["flip", "cut", "no state", "no manifest", "bad manifest", "list manifest"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    folder = write(tmp_path, 3).folder
    state, manifest = folder / "state.safetensors", folder / "manifest.json"
    content = bytearray(state.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        state.write_bytes(content)
    elif damage == "cut":
        state.write_bytes(content[:-1])
    elif damage == "no state":
        state.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("{" if damage == "bad manifest" else "[]")
    assert reason_of(lambda: verify_checkpoint(folder, 3, "hash")) == "CHECKPOINT_INVALID"


def test_another_version_or_configuration_is_refused(tmp_path):
    folder = write(tmp_path, 3).folder
    assert reason_of(lambda: verify_checkpoint(folder, 4, "hash")) == "CHECKPOINT_INVALID"
    assert reason_of(lambda: verify_checkpoint(folder, 3, "other")) == "CHECKPOINT_INVALID"
    missing = checkpoint_folder(tmp_path, "run-1", 9)
    assert reason_of(lambda: verify_checkpoint(missing, 9, "hash")) == "CHECKPOINT_INVALID"


def test_a_failed_sync_leaves_the_former_checkpoint_untouched(tmp_path, monkeypatch):
    before = write(tmp_path, 3)

    def no_space(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", no_space)
        assert reason_of(lambda: write(tmp_path, 3, {"lora.a": torch.ones(1)})) == "STORAGE_FAILED"
        assert reason_of(lambda: write(tmp_path, 4)) == "STORAGE_FAILED"
    assert verify_checkpoint(before.folder, 3, "hash") == before
    assert [path.name for path in before.folder.parent.iterdir()] == ["000003"]


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from star_worker.checkpoint import write_checkpoint
from star_worker.errors import StarError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_checkpoint(Path(sys.argv[1]), {"a": torch.zeros(100_000)}, 1, "hash")
except StarError as error:
    print(error.reason)
"""


def test_a_file_that_cannot_grow_is_a_storage_failure_with_nothing_left(tmp_path):
    folder = tmp_path / "checkpoints" / "000001"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "STORAGE_FAILED", done.stderr
    assert list(folder.parent.iterdir()) == []


def test_a_replacement_cut_off_between_its_renames_is_undone(tmp_path):
    written = write(tmp_path, 3)
    written.folder.rename(written.folder.with_name(".000003.replaced"))
    assert verify_checkpoint(written.folder, 3, "hash") == written


def versions(tmp_path):
    return sorted(path.name for path in (tmp_path / "runs/run-1/checkpoints").iterdir())


def test_pruning_keeps_the_newest_and_at_least_two(tmp_path):
    for version in (1, 2, 3, 12):
        write(tmp_path, version)
    newest = write(tmp_path, 5)
    prune_checkpoints(newest, keep=3)
    # 12 is from before the run went back to 5.
    assert versions(tmp_path) == ["000002", "000003", "000005", "000012"]
    prune_checkpoints(newest, keep=1)
    assert versions(tmp_path) == ["000003", "000005", "000012"]


def test_the_config_hash_ignores_only_what_does_not_decide_the_state():
    config = training_config(config_message())
    retention = dataclasses.replace(config, thread_count=3, checkpoint_every=9, checkpoint_keep=9)
    assert config_hash(config, 1) == config_hash(retention, 1)
    assert config_hash(config, 1) != config_hash(config, 2)
    assert config_hash(config, 1) != config_hash(dataclasses.replace(config, micro_batch_size=8), 1)


def test_the_manifest_names_version_config_and_digest(tmp_path):
    written = write(tmp_path, 3)
    manifest = json.loads((written.folder / "manifest.json").read_text())
    assert manifest == {
        "format": 1,
        "policy_version": 3,
        "config_hash": "hash",
        "files": {"state.safetensors": written.digest},
    }
