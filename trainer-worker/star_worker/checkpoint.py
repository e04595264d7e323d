"""Durable states of the policy: safetensors and a manifest with digests, written aside and renamed.

Layout: <data_dir>/runs/<run_id>/checkpoints/<policy version, 6 digits>/{state.safetensors, manifest.json}.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from star_worker.errors import StarError
from star_worker.types import TrainingConfig

_FORMAT = 1
_STATE = "state.safetensors"
_MANIFEST = "manifest.json"
# While the control plane has not yet committed the newest version it may still come back for the one before.
_KEEP_AT_LEAST = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A verified checkpoint. `digest`: SHA-256 of the state file; equal digests are equal states."""

    folder: Path
    policy_version: int
    digest: str


def run_folder(data_dir: Path, run_id: str) -> Path:
    """Where the worker keeps everything of a run."""
    return data_dir / "runs" / run_id


def checkpoint_folder(data_dir: Path, run_id: str, policy_version: int) -> Path:
    """Where the checkpoint of a policy version lies."""
    return run_folder(data_dir, run_id) / "checkpoints" / f"{policy_version:06d}"


def config_hash(config: TrainingConfig, run_seed: int) -> str:
    """SHA-256 of everything that decides what a state means; threads and retention do not."""
    fields = asdict(config)
    for name in ("thread_count", "checkpoint_every", "checkpoint_keep"):
        del fields[name]
    text = json.dumps({"config": fields, "run_seed": run_seed}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_checkpoint(folder: Path, state: dict[str, Tensor], policy_version: int, hash_of_config: str) -> Checkpoint:
    """Writes a checkpoint so that `folder` is either complete or as it was before.

    Raises StarError STORAGE_FAILED (for example a full disk); nothing half-written stays.
    """
    with written_aside(folder) as aside:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, aside / _STATE)
        digest = _digest(aside / _STATE)
        manifest = {
            "format": _FORMAT,
            "policy_version": policy_version,
            "config_hash": hash_of_config,
            "files": {_STATE: digest},
        }
        (aside / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return Checkpoint(folder=folder, policy_version=policy_version, digest=digest)


def verify_checkpoint(folder: Path, policy_version: int, hash_of_config: str) -> Checkpoint:
    """Reads manifest and digests without loading.

    Raises StarError CHECKPOINT_INVALID when it is missing, incomplete, damaged or of another version or configuration.
    """
    _restore(folder)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        found = (manifest["format"], manifest["policy_version"], manifest["config_hash"])
        recorded = manifest["files"][_STATE]
        digest = _digest(folder / _STATE)
    except FileNotFoundError as error:
        raise _invalid(folder, f"{error.filename} is missing; prepare another policy version") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _invalid(folder, f"the manifest cannot be read: {error!r}") from error
    expected = (_FORMAT, policy_version, hash_of_config)
    if found != expected:
        raise _invalid(folder, f"expected format, policy version and config hash {expected}, received {found}")
    if digest != recorded:
        raise _invalid(folder, f"{_STATE} is damaged: expected SHA-256 {recorded}, received {digest}")
    return Checkpoint(folder=folder, policy_version=policy_version, digest=digest)


def read_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Tensors of a verified checkpoint, on the CPU. Raises StarError CHECKPOINT_INVALID."""
    try:
        tensors: dict[str, Tensor] = load_file(checkpoint.folder / _STATE)
    except (OSError, SafetensorError) as error:
        raise _invalid(checkpoint.folder, f"{_STATE} cannot be read: {error}") from error
    return tensors


def prune_checkpoints(newest: Checkpoint, keep: int) -> None:
    """Removes the oldest checkpoints so that `keep` (at least 2) up to `newest` stay. Raises StarError STORAGE_FAILED.

    Later versions, left over from before a run went back to `newest`, are not counted and stay until overwritten.
    """
    parent = newest.folder.parent
    with _storage(parent):
        versions = sorted(int(path.name) for path in parent.iterdir() if path.name.isdigit())
        older = [version for version in versions if version <= newest.policy_version]
        for version in older[: -max(keep, _KEEP_AT_LEAST)]:
            _remove(parent / f"{version:06d}")


@contextlib.contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` to write into; made durable and put in its place when the block succeeds.

    Raises StarError STORAGE_FAILED; `folder` then is as it was before.
    """
    aside = folder.with_name(f".{folder.name}.partial")
    with _storage(folder):
        try:
            _remove(aside)
            aside.mkdir(parents=True)
            yield aside
            for path in (*sorted(aside.rglob("*")), aside):
                _sync(path)
            _replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(aside: Path, folder: Path) -> None:
    """Puts `aside` in place of `folder`, and back what was there when that fails."""
    _restore(folder)
    before = _replaced_name(folder)
    _remove(before)
    if folder.exists():
        os.rename(folder, before)
    try:
        os.rename(aside, folder)
    except OSError:
        if before.exists():
            os.rename(before, folder)
        raise
    _sync(folder.parent)
    _remove(before)


def _restore(folder: Path) -> None:
    """Puts back a folder whose replacement was cut off between its two renames."""
    before = _replaced_name(folder)
    if before.exists() and not folder.exists():
        os.rename(before, folder)


def _replaced_name(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _remove(folder: Path) -> None:
    """Removes a folder that may not exist; renamed first, so that no half of it looks like a checkpoint."""
    if not folder.exists():
        return
    doomed = folder if folder.name.startswith(".") else folder.with_name(f".{folder.name}.removed")
    if doomed != folder:
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(folder, doomed)
    shutil.rmtree(doomed)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _storage(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        message = f"{place}: writing failed: {error}; free space or choose another --data-dir"
        raise StarError("STORAGE_FAILED", message) from error


def _invalid(folder: Path, message: str) -> StarError:
    return StarError("CHECKPOINT_INVALID", f"checkpoint {folder}: {message}")
