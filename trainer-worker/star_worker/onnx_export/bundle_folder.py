"""The folder of a scorer bundle: appears complete or not at all."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from star_worker.errors import StarError

Manifest = dict[str, Any]
"""Fields of manifest.yaml, or of a part of it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the manifest says about a bundle's weights."""

    name: str
    """Lower-case letters, digits and dashes."""
    licence: str
    source: str
    version: str = "1"

    def fields(self, kind: str) -> Manifest:
        """Return what every manifest begins with."""
        return {
            "name": self.name,
            "version": self.version,
            "kind": kind,
            "licence": self.licence,
            "source": self.source,
        }


def require_absent(out: Path) -> None:
    """Raise StarError ARGUMENT_INVALID when `out` is there already."""
    if out.exists():
        raise StarError("ARGUMENT_INVALID", f"OUT {out} is there already; remove it or name another folder")


@contextmanager
def new_bundle(out: Path) -> Iterator[Path]:
    """Lend a temporary folder that becomes `out` when the block ends well and is removed when it does not.

    Raises:
        StarError: ARGUMENT_INVALID when `out` is there already.
    """
    require_absent(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def file_entry(path: Path) -> dict[str, str]:
    """Return a file's entry in the manifest."""
    with path.open("rb") as file:
        return {"path": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.yaml; its fields keep their order."""
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")
