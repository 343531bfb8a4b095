#!/usr/bin/env bash
# Make pocket from public data, from nothing to the packed file; see README.md. From the repository's root:
#
#     bash recipes/pocket/make.sh ../shared/data
#
# Stopped, it goes on where it was with the same command.
set -euo pipefail

shared=${1:?folder with segmentation/ and anatomy/}
runs=runs/pocket
made=runs/data

train() { # name of the recipe and the run, weights to start from, data sets …
    local name=$1 start=$2 options=()
    shift 2
    [ -f "$runs/$name/manifest.json" ] && return
    [ -f "$runs/$name/last.ckpt" ] && options+=(--resume)
    for set in "$@"; do options+=(--data "$set"); done
    vesalius train --model "$start" --recipe "recipes/pocket/$name.toml" --out "$runs/$name" "${options[@]}"
}

[ -f $runs/start.safetensors ] || python recipes/pocket/start.py $runs/start.safetensors
[ -d $made/brain_mr/anns ] || python recipes/pocket/prepare_brain.py "$shared/anatomy" $made
[ -d $made/abdomen_liver/anns ] || python recipes/pocket/prepare_abdomen.py "$shared/anatomy/abdomen_pelvis_ct" $made

hard=("$shared"/segmentation/{kvasir_polyp,clinicdb_polyp,bkai_polyp,busi})
pictures=("${hard[@]}" "$shared/segmentation/cxr_lungs" $made/brain_mr)
# Breast ultrasound counts twice at first, because it is small and hard.
train segmentation $runs/start.safetensors "${pictures[@]}" "$shared/segmentation/busi"
train polished $runs/segmentation "${pictures[@]}" "$shared/segmentation/busi"
train larger $runs/polished "${pictures[@]}" $made/abdomen_*

[ -f $runs/mixed.safetensors ] || python recipes/pocket/mix.py $runs/polished $runs/larger $runs/mixed.safetensors
[ -f $runs/centred.safetensors ] ||
    python recipes/pocket/recentre.py $runs/mixed.safetensors $runs/centred.safetensors "${pictures[@]}" $made/abdomen_*

train settled $runs/centred.safetensors "${pictures[@]}" $made/brain_absent $made/abdomen_*
[ -f $runs/between.safetensors ] ||
    python recipes/pocket/mix.py $runs/centred.safetensors $runs/settled $runs/between.safetensors
# Polyps and breast ultrasound count twice at last: lungs and brain are learnt by then.
train outlines $runs/between.safetensors "${hard[@]}" "${pictures[@]}" $made/abdomen_*
train finished $runs/outlines "${hard[@]}" "${pictures[@]}" $made/brain_mr $made/abdomen_*
train fitted $runs/finished "${hard[@]}" "${pictures[@]}" $made/abdomen_*
[ -f $runs/outlined.safetensors ] ||
    python recipes/pocket/mix.py $runs/finished $runs/fitted $runs/outlined.safetensors

[ -f $runs/listening.safetensors ] ||
    python recipes/pocket/existence.py $runs/outlined.safetensors $runs/listening.safetensors \
        "${pictures[@]}" $made/brain_absent $made/abdomen_*
[ -f $runs/named.safetensors ] ||
    python recipes/pocket/anatomy.py $runs/listening.safetensors "$shared" $runs/named.safetensors
python recipes/pocket/audit_thresholds.py $runs/named.safetensors "$shared/anatomy/series"
python recipes/pocket/pack.py $runs/named.safetensors
python recipes/pocket/phrases.py
