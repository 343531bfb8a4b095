import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from vesalius.data.check import check_dataset
from vesalius.data.check import report as page
from vesalius.errors import OutputError


class Outline(HTMLParser):
    """Headings, addresses and the balance of tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(root, path) -> tuple[str, Outline]:
    page.write_check_page(check_dataset(root), path)
    text, outline = path.read_text(encoding="utf-8"), Outline()
    outline.feed(text)
    assert outline.open == []
    return text, outline


def test_a_clean_set_has_a_page_that_says_so(root, tmp_path):
    text, outline = read(root, tmp_path / "check.html")
    assert "Nothing is wrong with this data set." in text
    assert outline.addresses == []


def test_pictures_lie_within_the_page_and_nothing_outside_is_needed(root, tmp_path):
    shutil.copy(root / "images/train_1.png", root / "images/test_0.png")
    (root / "masks/test_0.png").unlink()
    text, outline = read(root, tmp_path / "check.html")
    assert "Something is wrong with this data set." in text
    pictures = [each for each in outline.addresses if each.startswith("data:image/jpeg;base64,")]
    assert len(pictures) == 3  # both duplicates, and the image whose mask is missing
    assert all(each.startswith(("data:", "#")) for each in outline.addresses)


def test_names_and_prompts_are_escaped(root, tmp_path, change):
    name = "<script>alert(1)</script>.png"
    change("val", lambda records: records[0].update(img_name=name))
    change("val", lambda records: records[1]["prompts"].update(p1="<b>{size}</b>"))
    text, _ = read(root, tmp_path / "check.html")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "<b>{size}</b>" not in text


def test_what_cannot_be_read_has_no_picture(root, tmp_path):
    (root / "images/val_0.png").write_bytes(b"no picture")
    (root / "masks/val_0.png").write_bytes(b"no picture")
    text, outline = read(root, tmp_path / "check.html")
    assert text.count("no picture</div>") == 2
    assert not any(each.startswith("data:") for each in outline.addresses)


def test_test_comes_first_and_the_rest_is_counted(root, tmp_path, change, monkeypatch):
    for split in ("train", "val", "test"):
        change(split, lambda records: [record["prompts"].update(p1="{size} polyp") for record in records])
    monkeypatch.setattr(page, "CARDS", 2)
    text, _ = read(root, tmp_path / "check.html")
    assert re.findall(r"</b> \d (images/\w+\.png)", text) == ["images/test_0.png", "images/test_1.png"]
    assert "5 more in check.json" in text


def test_a_page_that_cannot_be_written_is_an_error(root, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        page.write_check_page(check_dataset(root), tmp_path / "taken" / "check.html")


def test_what_the_page_shows_the_json_has(root, tmp_path):
    shutil.copy(root / "images/train_1.png", root / "images/train_2.png")
    report = check_dataset(root)
    page.write_check_page(report, tmp_path / "check.html")
    text = (tmp_path / "check.html").read_text(encoding="utf-8")
    (finding,) = json.loads(json.dumps(report.to_dict()))["findings"]
    assert finding["message"] in text
    assert "identical pixels" in text
