#!/usr/bin/env bash
# Make pocket from public data, from nothing to the packed file; see README.md. From the repository's root:
#
#     bash experiments/pocket/make.sh ../shared/data
#
# Stopped, it goes on where it was with the same command. Outlines are trained here, which takes a CPU days; or elsewhere,
# with runs/pocket/train.safetensors and words.safetensors carried to a machine with a GPU (gpu.sh), whose files then
# belong into runs/pocket/trained.
set -euo pipefail

shared=${1:?folder with segmentation/, targets/ and anatomy/}
runs=runs/pocket
made=runs/data
here=experiments/pocket

[ -f $runs/start.safetensors ] || python $here/start.py $runs/start.safetensors
[ -d $made/brain_mr/anns ] || python $here/prepare_brain.py "$shared/anatomy" $made
[ -d $made/trunk_ct/anns ] || python $here/prepare_trunk.py "$shared/anatomy/abdomen_pelvis_ct" $made/trunk_ct
[ -d $made/heads_ct/anns ] || python $here/prepare_heads.py "$shared" $made
[ -d $made/people_mr/anns ] || python $here/prepare_people.py "$shared" $made

pack() { # what is learnt from and what chooses, pictures and words, into a folder
    [ -f $1/train.safetensors ] ||
        python $here/pack_images.py "$shared" $made $1/train.safetensors --split train --quality 56
    [ -f $1/words.safetensors ] ||
        python $here/pack_words.py $runs/start.safetensors $1/train.safetensors $1/words.safetensors
    [ -f $1/val.safetensors ] || python $here/pack_images.py "$shared" $made $1/val.safetensors --split val --quality 90
    [ -f $1/val_words.safetensors ] ||
        python $here/pack_words.py $runs/start.safetensors $1/val.safetensors $1/val_words.safetensors \
            --learnt $1/words.safetensors
}
settle() { # the mean of trainings, calibrated, into a folder; from the packs in another
    local packs=$1 into=$2
    [ -f $into/outlined.safetensors ] ||
        python $here/assemble.py $runs/start.safetensors $packs/words.safetensors $into/outlined.safetensors "${@:3}"
    [ -f $into/calibrated.safetensors ] ||
        python $here/calibrate.py $into/outlined.safetensors $packs/val.safetensors $packs/val_words.safetensors \
            $into/calibrated.safetensors
}
pack $runs

[ -f $runs/first/rest.safetensors ] || bash $here/gpu.sh $runs $runs/first 9
[ -f $runs/second/rest.safetensors ] ||
    bash $here/gpu.sh $runs $runs/second 7.3 --start $runs/first \
        --balance 0.75 --learning-rate 0.001 --small-share 0.3 --relax 0.2
[ -f $runs/third/rest.safetensors ] || # what phrases steer, on a CPU
    python $here/train.py $runs/train.safetensors $runs/words.safetensors --out $runs/third \
        --start $runs/first $runs/second --still --minutes 45 --batch 24 --balance 0.75 \
        --learning-rate 0.0006 --ema 0.995 --small-share 0.3 --relax 0.2 --wordless 0.15
[ -f $runs/fourth/rest.safetensors ] || # the same, with more pictures that lack what is asked for
    python $here/train.py $runs/train.safetensors $runs/words.safetensors --out $runs/fourth \
        --start $runs/third --still --minutes 37 --batch 24 --balance 0.45 \
        --learning-rate 0.0008 --ema 0.995 --small-share 0.4 --relax 0.25 --lacking 0.4 --wordless 0.12
[ -f $runs/fifth/rest.safetensors ] || # and twice more, since hearts, brains and skulls of strangers' CTs came
    python $here/train.py $runs/train.safetensors $runs/words.safetensors --out $runs/fifth \
        --start $runs/fourth --still --minutes 42 --batch 24 --balance 0.45 \
        --learning-rate 0.0008 --ema 0.995 --small-share 0.4 --relax 0.25 --lacking 0.4 --wordless 0.12
[ -f $runs/sixth/rest.safetensors ] ||
    python $here/train.py $runs/train.safetensors $runs/words.safetensors --out $runs/sixth \
        --start $runs/fifth --still --minutes 24 --batch 24 --balance 0.45 \
        --learning-rate 0.0006 --ema 0.995 --small-share 0.3 --relax 0.3 --lacking 0.4 --wordless 0.12
settle $runs $runs $runs/fourth $runs/fifth $runs/fifth $runs/sixth $runs/sixth
[ -d $made/brain_sequences/anns ] || # heads painted as other sequences show them, outlined by what was learnt so far
    python $here/prepare_sequences.py $runs/calibrated.safetensors "$shared" $made
more=$runs/more
pack $more
[ -f $runs/seventh/rest.safetensors ] ||
    python $here/train.py $more/train.safetensors $more/words.safetensors --out $runs/seventh \
        --start $runs/calibrated.safetensors --still --minutes 48 --batch 24 --balance 0.45 \
        --learning-rate 0.0008 --ema 0.995 --small-share 0.4 --relax 0.25 --lacking 0.3 --wordless 0.12
settle $more $more $runs/calibrated.safetensors $runs/seventh $runs/seventh
[ -f $runs/tenth/rest.safetensors ] || # hearts and heads in particular; what came between was left, see README.md
    python $here/train.py $more/train.safetensors $more/words.safetensors --out $runs/tenth \
        --start $more/calibrated.safetensors --still --minutes 68 --batch 24 --balance 0.45 \
        --learning-rate 0.0008 --ema 0.995 --small-share 0.5 --relax 0.25 --lacking 0.35 --wordless 0.12 \
        --shares '{"people_ct": 0.15, "brain_sequences": 0.05, "full-head-t1w": 0.02, "busi": 0.03,
            "chest_xray_covid_anatomy": 0.02}'
settle $more $runs/tenth_mean $more/calibrated.safetensors $runs/tenth $runs/tenth
[ -d $made/abdomens_mr/anns ] || python $here/prepare_abdomens.py "$shared" $made
last=$runs/last
pack $last
[ -f $runs/eleventh/rest.safetensors ] || # abdomens on MR, which the pixel decoder has to learn, too
    python $here/train.py $last/train.safetensors $last/words.safetensors --out $runs/eleventh \
        --start $runs/tenth_mean/calibrated.safetensors --still trunk --minutes 80 --batch 24 --questions 4 --balance 0.45 \
        --learning-rate 0.0006 --ema 0.995 --small-share 0.7 --relax 0.25 --lacking 0.35 --wordless 0.12 \
        --shares '{"people_ct": 0.15, "abdomens_mr": 0.08, "abdomens_painted": 0.06, "busi": 0.05, "bkai_polyp": 0.04,
            "brain_sequences": 0.03, "full-head-t1w": 0.02, "chest-ct-subset": 0.02,
            "curvas-abdominal-multiorgan": 0.03, "kits19-kidney-tumor": 0.02}'
eleventh=$runs/eleventh
settle $last $runs/eleventh_mean $runs/tenth_mean/calibrated.safetensors $eleventh $eleventh $eleventh $eleventh
[ -f $runs/twelfth/rest.safetensors ] || # the same, with more of what had become worse
    python $here/train.py $last/train.safetensors $last/words.safetensors --out $runs/twelfth \
        --start $runs/eleventh_mean/calibrated.safetensors --still trunk --minutes 80 --batch 24 --questions 4 --balance 0.45 \
        --learning-rate 0.0006 --ema 0.995 --small-share 0.7 --relax 0.25 --lacking 0.35 --wordless 0.12 \
        --shares '{"people_ct": 0.11, "abdomens_mr": 0.06, "abdomens_painted": 0.04, "busi": 0.06, "bkai_polyp": 0.06,
            "heads_ct": 0.03, "multiclass-brain-hemorrhage": 0.02, "full-head-t1w": 0.02, "white_blood_cell": 0.02,
            "leukocyte": 0.01, "lumbar-spine": 0.02, "spider-t2w-subset": 0.01, "ircad-digestive-cancer-liver": 0.02,
            "chest-ct-subset": 0.02, "curvas-abdominal-multiorgan": 0.02, "kits19-kidney-tumor": 0.01,
            "ovarian-tumor-3d": 0.01, "aorta": 0.01}'
settle $last $last $runs/eleventh_mean/calibrated.safetensors $runs/twelfth
[ -f $runs/named.safetensors ] ||
    python $here/anatomy.py $runs/last/calibrated.safetensors "$shared" $runs/named.safetensors
python $here/audit_thresholds.py $runs/named.safetensors "$shared/anatomy/series"
python $here/pack.py $runs/named.safetensors
python $here/phrases.py
mapfile -t learnt < <(find "$shared/targets" -mindepth 1 -maxdepth 1 -type d ! -name lung-tumor | sort)
python $here/fingerprints.py --out src/vesalius/models/weights/pocket.seen.safetensors \
    "$shared/segmentation" "${learnt[@]}" $made/brain_mr $made/brain_absent $made/brain_sequences $made/trunk_ct \
    $made/heads_mr $made/heads_ct $made/people_ct $made/people_mr $made/abdomens_mr $made/abdomens_painted
python demo/hero.py
