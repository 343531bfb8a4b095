import pytest

from vesalius.data.fingerprints import find_seen, read_fingerprints
from vesalius.errors import DataError


def test_training_images_are_recognised_afterwards(import_script, write_dataset, tmp_path):
    script = import_script("experiments/pocket", "fingerprints")
    root = write_dataset("kvasir_polyp", train=3, val=3)
    out = tmp_path / "pocket.seen.safetensors"
    script.main(["--out", str(out), str(root.parent)])
    known = read_fingerprints(out)
    assert (len(known.images), known.complete) == (3, True)
    assert find_seen(root, ["train_0.png", "train_2.png", "val_0.png"], known).names == ("train_0.png", "train_2.png")
    with pytest.raises(DataError, match="no data set there"):
        script.main(["--out", str(out), str(root / "images")])
