"""Writes the Python stubs of proto/ into star_worker/gen, importable as star_worker.gen.star.v1.<name>_pb2."""

import re
import shutil
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "trainer-worker" / "star_worker" / "gen"


def main() -> None:
    """Generates into an empty folder, then makes the imports relative to the package."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    files = sorted(str(path) for path in (ROOT / "proto").rglob("*.proto"))
    arguments = [f"-I{ROOT / 'proto'}", f"--python_out={OUT}", f"--pyi_out={OUT}", f"--grpc_python_out={OUT}"]
    if protoc.main(["protoc", *arguments, *files]) != 0:
        raise SystemExit("protoc failed")
    for path in OUT.rglob("*.py*"):
        path.write_text(
            re.sub(r"^from star\.v1 import", "from star_worker.gen.star.v1 import", path.read_text(), flags=re.M)
        )
    for folder in [OUT, OUT / "star", OUT / "star" / "v1"]:
        (folder / "__init__.py").write_text("")
    for path in OUT.rglob("*_pb2_grpc.py"):
        if "service" not in path.name:
            path.unlink()


if __name__ == "__main__":
    main()
