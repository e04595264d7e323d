#!/usr/bin/env bash
# Recomputes every golden file of a folder through the product's own functions, in both languages. Exit 1 on a mismatch.
set -uo pipefail
folder=${1:?usage: scripts/golden.sh FOLDER}
[ -d "$folder" ] || { echo "no such folder: $folder"; exit 2; }
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."
status=0
node --import tsx server-ts/src/golden/check.ts "$folder" || status=1
.venv/bin/python -m star_worker.golden "$folder" || status=1
exit $status
