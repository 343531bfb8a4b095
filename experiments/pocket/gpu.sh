#!/usr/bin/env bash
# Pocket's training on a machine with a GPU, from the packs that `make.sh` writes: at most 9 minutes on an H100-class card.
#
#     bash experiments/pocket/gpu.sh PACKS OUT [MINUTES] [more options of train.py]
#
# PACKS holds train.safetensors and words.safetensors; OUT gets the weights, in halves of less than 16 MB, early and often.
set -euo pipefail
packs=${1:?folder with train.safetensors and words.safetensors}
out=${2:?folder for the weights}
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/../../src" PYTHONUNBUFFERED=1 python3 "$here/train.py" \
    "$packs/train.safetensors" "$packs/words.safetensors" --out "$out" --minutes "${3:-8}" "${@:4}"
