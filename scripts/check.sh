#!/usr/bin/env bash
# Everything that can be checked without running the program. Called by `make check`.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$1"; }

step "TypeScript: format, lint, import layers and cycles (biome.json)"
biome check --error-on-warnings server-ts
step "TypeScript: types"
tsc -p server-ts
step "Python: format and lint"
(cd trainer-worker && ../.venv/bin/ruff format --check . && ../.venv/bin/ruff check .)
.venv/bin/ruff format --config trainer-worker/pyproject.toml --check scripts golden
.venv/bin/ruff check --config trainer-worker/pyproject.toml scripts golden
step "Python: types"
.venv/bin/mypy --config-file trainer-worker/pyproject.toml trainer-worker/star_worker trainer-worker/tiny_world
step "Protocol: lint, format, compatibility with the released one"
buf lint
buf format --diff --exit-code
buf breaking --against proto/released.binpb
step "Generated code is what the generators write"
before=$(find server-ts/src/gen trainer-worker/star_worker/gen -type f -not -name '*.pyc' | sort | xargs sha256sum)
buf generate
.venv/bin/python trainer-worker/generate_stubs.py
after=$(find server-ts/src/gen trainer-worker/star_worker/gen -type f -not -name '*.pyc' | sort | xargs sha256sum)
[ "$before" = "$after" ] || { echo "gen/ was out of date: commit the regenerated files"; exit 1; }
step "Golden vectors are what the reference writes"
for script in golden/make_*.py; do .venv/bin/python "$script" --check; done
echo
echo "check: all good"
