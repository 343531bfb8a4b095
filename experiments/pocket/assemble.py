"""Put trained weights and the sentence encoder together as one checkpoint.

    python experiments/pocket/assemble.py runs/pocket/start.safetensors runs/pocket/words.safetensors \
        runs/pocket/outlined.safetensors runs/pocket/first runs/pocket/second

Of several trainings the mean of their weights. Its notes say what it learnt: each target, the modalities of its
pictures, and how many there were.
"""

import argparse
import json
from pathlib import Path

from pack_words import read_facts
from train import UNTRAINED, read_trained

from vesalius.models.checkpoints import load_model, save_model


def main() -> None:
    """Load, join, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("trained", type=Path, nargs="+", help="folders of train.py or checkpoints; a folder comes last")
    args = parser.parse_args()
    model = load_model(args.start)
    weights = read_trained(args.trained)
    expected = {name for name, value in model.state_dict().items() if value.is_floating_point()}
    lacking = {name for name in expected - weights.keys() if not name.startswith(UNTRAINED)}
    if lacking or not weights.keys() <= expected:
        raise SystemExit(f"{args.trained[0]}: not the weights of this model; {len(lacking)} are missing.")
    model.load_state_dict(weights, strict=False)
    training = json.loads((args.trained[-1] / "training.json").read_text(encoding="utf-8"))
    facts = read_facts(args.words)
    learnt = {
        target: {"modalities": facts["modalities"][target], "pictures": facts["images"][target]}
        for target in facts["targets"]
    }
    told = {key: training[key] for key in ("config", "steps", "device", "before") if key in training}
    told["mean of"] = len(args.trained)
    save_model(model, args.out, {"targets": learnt, "training": told})


if __name__ == "__main__":
    main()
