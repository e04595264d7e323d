"""Reference of an HTTP reward server (docs/http-scorer.md), with Python's standard library alone.

Put your model into `score`. Start: python server.py [PORT] (0: any free port).
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "reference 1"
MAX_REQUEST_BYTES = 64 * 1024 * 1024


def score(prompt: str, metadata: dict[str, Any], png: bytes) -> dict[str, float]:
    """Return the numbers that the manifest names: as an example, how square the picture is."""
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    return {"score": min(width, height) / max(width, height)}


def result(item: dict[str, Any]) -> dict[str, Any]:
    """Score one item, or say why not. Never a number for a picture that could not be scored."""
    try:
        if not item["prompt"]:
            return {"id": item["id"], "abstain": "the prompt is empty"}
        png = base64.b64decode(item["image"], validate=True)
        return {"id": item["id"], "values": score(item["prompt"], item["metadata"], png)}
    except Exception as error:
        return {"id": item["id"], "error": {"reason": "SCORER_CRASHED", "message": repr(error)}}


class Handler(BaseHTTPRequestHandler):
    """GET /info and POST /score."""

    def do_GET(self) -> None:  # noqa: D102
        self._answer(200, {"version": VERSION}) if self.path == "/info" else self._answer(404, {})

    def do_POST(self) -> None:  # noqa: D102
        length = int(self.headers.get("Content-Length", "0"))
        if self.path != "/score" or not 0 < length <= MAX_REQUEST_BYTES:
            return self._answer(400, {"error": f"expected a POST to /score of 1 to {MAX_REQUEST_BYTES} bytes"})
        request = json.loads(self.rfile.read(length))
        if request.get("version") != 1:
            return self._answer(400, {"error": f"expected version 1, received {request.get('version')}"})
        return self._answer(200, {"results": [result(item) for item in request["items"]]})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8900), Handler)
    print(f"http://127.0.0.1:{server.server_port}/score", flush=True)
    server.serve_forever()
