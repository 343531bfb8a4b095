from vesalius.data.check import check_dataset
from vesalius.data.check.facts import check_folders, gather_uses
from vesalius.data.check.findings import read_rows


def found(root) -> list[tuple[str, str]]:
    rows, _ = read_rows(root)
    return [(each.kind, each.message) for each in check_folders(root, *gather_uses(rows))]


def test_a_missing_file_is_named_with_what_may_be_meant(root):
    (root / "masks/val_0.png").rename(root / "masks/VAL_0.tif")
    assert sorted(found(root)) == [
        ("extra_file", "masks/VAL_0.tif is named by no record."),
        ("missing_file", "masks/val_0.png is not there. Is it masks/VAL_0.tif?"),
    ]


def test_a_missing_file_is_found_once_with_all_its_records(root, change):
    change("train", lambda records: records.append(records[0]))
    (root / "images/train_0.png").unlink()
    rows, _ = read_rows(root)
    (finding,) = check_folders(root, *gather_uses(rows))
    assert [(place.split, place.record) for place in finding.places] == [("train", 0), ("train", 3)]


def test_files_in_folders_of_their_own_count(root, change):
    (root / "images/sub").mkdir()
    (root / "images/train_0.png").rename(root / "images/sub/a b.png")
    change("train", lambda records: records[0].update(img_name="./sub/a b.png"))
    assert found(root) == []


def test_where_a_split_cannot_be_read_nobody_knows_what_is_extra(root):
    (root / "anns/val.json").write_text("[{")
    assert [each.kind for each in check_dataset(root).findings] == ["unreadable_annotations"]
