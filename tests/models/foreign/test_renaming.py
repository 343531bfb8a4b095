import torch

from vesalius.models.foreign.names import Renaming, transpose


def test_rules_are_applied_to_every_name_one_after_the_other():
    renaming = Renaming([(r"^visual\.", "image."), (r"\.blocks\.(\d+)\.", r".layers.\1."), (r"^image\.", "vision.")])
    tensors = {"visual.blocks.10.weight": torch.ones(1), "text.weight": torch.zeros(1)}
    assert renaming.apply(tensors) == {
        "vision.layers.10.weight": tensors["visual.blocks.10.weight"],
        "text.weight": tensors["text.weight"],
    }


def test_unused_tensors_are_left_out_by_their_name_in_the_file():
    renaming = Renaming([(r"^head\.", "pooler.")], unused=(r"^pooler\.", r"position_ids$"))
    tensors = {"pooler.w": torch.ones(1), "head.w": torch.ones(1), "x.position_ids": torch.arange(3)}
    assert list(renaming.apply(tensors)) == ["pooler.w"]


def test_tensors_stored_in_another_form_are_changed():
    renaming = Renaming([(r"proj$", "projection.weight")], changes=[(r"proj$", transpose)])
    value = torch.arange(6.0).reshape(2, 3)
    changed = renaming.apply({"visual.proj": value, "other": value})
    assert torch.equal(changed["visual.projection.weight"], value.T)
    assert changed["visual.projection.weight"].is_contiguous()
    assert changed["other"] is value


def test_queries_keys_and_values_are_joined_in_this_order_whatever_that_of_the_file():
    names = {"k": "key", "v": "value", "q": "query"}
    renaming = Renaming([(rf"\.{short}_proj\.", f".qkv.{long}.") for short, long in names.items()])
    parts = {short: torch.full((2, 3), float(index)) for index, short in enumerate(("q", "k", "v"))}
    tensors = {f"layer.{short}_proj.weight": parts[short] for short in ("v", "k", "q")}
    joined = renaming.apply(tensors)
    assert list(joined) == ["layer.qkv.weight"]
    assert joined["layer.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_a_part_that_is_missing_leaves_the_others_to_be_called_unexpected():
    tensors = {"layer.qkv.query.weight": torch.ones(2, 3), "layer.qkv.key.weight": torch.ones(2, 3)}
    assert Renaming([]).apply(tensors).keys() == tensors.keys()
