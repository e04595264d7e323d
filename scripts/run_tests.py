"""Runs the test suites of both languages and ends with one line: N passed, N failed, N skipped."""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_vitest(out: Path) -> tuple[int, int, int]:
    """Control plane. Counts a suite that cannot even be loaded as one failure."""
    reporters = ["--reporter=default", "--reporter=json", f"--outputFile.json={out}"]
    status = subprocess.run(["vitest", "run", "--root", "server-ts", *reporters], cwd=ROOT, check=False).returncode
    if not out.exists():
        return 0, 1, 0
    report = json.loads(out.read_text())
    failed = int(report["numFailedTests"])
    broken = sum(1 for suite in report["testResults"] if suite["status"] == "failed" and not suite["assertionResults"])
    if status != 0 and failed + broken == 0:
        failed = 1
    return int(report["numPassedTests"]), failed + broken, int(report["numPendingTests"])


def run_pytest(out: Path) -> tuple[int, int, int]:
    """Worker and small world."""
    pytest = [str(ROOT / ".venv/bin/python"), "-m", "pytest", "-c", "trainer-worker/pyproject.toml"]
    command = [*pytest, "trainer-worker/tests", f"--junitxml={out}"]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if not out.exists():
        return 0, 1, 0
    suites = list(ElementTree.parse(out).getroot().iter("testsuite"))
    total, failed, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (["tests"], ["failures", "errors"], ["skipped"])
    )
    if status != 0 and failed == 0:
        failed = 1
    return max(0, total - failed - skipped), failed, skipped


def main() -> int:
    """Both suites always run; the exit status is 1 when anything failed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        counts = [run_vitest(Path(folder) / "vitest.json"), run_pytest(Path(folder) / "pytest.xml")]
    passed, failed, skipped = (sum(column) for column in zip(*counts, strict=True))
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
