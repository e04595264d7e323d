"""Does the written graph compute what PyTorch computes? A bundle is only written when it does."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from star_worker.errors import StarError

Precision = Literal["float32", "float16"]

SEED: Final = 0
BATCH: Final = 3
"""Not the batch size of the trace, so that a batch frozen into the graph is found."""
PACKAGES: Final = ("torch", "transformers", "onnx", "onnxruntime")

Numbers = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Check:
    """One output against PyTorch."""

    output: str
    """What was compared and how."""
    max_error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance; never for an error that is no number."""
        return self.max_error <= self.tolerance


def max_error(received: Numbers, expected: Numbers) -> float:
    """Return the largest absolute difference; NaN when a value is NaN.

    Raises:
        StarError: SCORER_NOT_LOADABLE when the shapes differ.
    """
    if received.shape != expected.shape:
        raise StarError(
            "SCORER_NOT_LOADABLE", f"the graph gives shape {received.shape}, PyTorch {expected.shape}; nothing written"
        )
    return float(np.abs(received - expected).max())


def require(checks: Sequence[Check]) -> None:
    """Refuse a bundle whose graph differs from PyTorch.

    Raises:
        StarError: SCORER_NOT_LOADABLE that names every output out of tolerance.
    """
    broken = [
        f"{check.output}: max error {check.max_error:.3g}, at most {check.tolerance:.3g}"
        for check in checks
        if not check.holds
    ]
    if broken:
        raise StarError(
            "SCORER_NOT_LOADABLE",
            f"the exported graph differs from PyTorch, nothing written: {'; '.join(broken)}. Try --precision float32, "
            "or the package versions of constraints.txt",
        )


def write_report(folder: Path, checks: Sequence[Check], *, inputs: str, precision: Precision) -> None:
    """Write parity.json: what was compared, on what, and with which versions."""
    report = {
        "inputs": inputs,
        "seed": SEED,
        "precision": precision,
        "reference": "PyTorch, float32, CPU",
        "checks": [asdict(check) for check in checks],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    (folder / "parity.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
