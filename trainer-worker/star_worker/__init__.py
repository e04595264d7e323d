"""STAR worker: sampling, attention capture and training. Dials the control plane over gRPC."""

__version__ = "0.1.0"
# Must equal the control plane's (server-ts/src/rpc/protocol-version.ts).
PROTOCOL_VERSION = 2
