"""Writes scorer bundles from PyTorch weights; `star-export --help`. Needs the extra `export`."""
