"""Every command, with names, headers and prompts that try to be something else than text."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from vesalius.cli import main
from vesalius.console import to_html, to_terminal
from vesalius.imaging import write_mask, write_rgb
from vesalius.models.checkpoints import save_model

pytestmark = pytest.mark.filterwarnings("default:Invalid value for VR")  # told to users, of headers like ours
NAME = "[red][b]\\[ \x1b[31m<script>\u202e|\n:skull:"
"""Of files and folders."""
IMAGE = "[red][b]\\[ <script>\u202e|:skull:"
"""Of images of a data set, whose names hold no control characters."""
PROMPT = "[/b] brain [red]\\[ \x1b]0;x\x07<script>\u202e\u200b|\nerror: `x`"
SHOWN_NAME = r"[red][b]\[ \x1b[31m<script>\u202e|\n:skull:"
SHOWN_PROMPT = r"[/b] brain [red]\[ \x1b]0;x\x07<script>\u202e\u200b|\nerror: `x`"


@pytest.fixture(scope="module")
def world(tmp_path_factory, build_tiny, write_dataset) -> Path:
    """Weights, pictures, a data set and two evaluations, with such names, prompts and headers."""
    root = tmp_path_factory.mktemp("world") / NAME
    root.mkdir()
    save_model(build_tiny("pocket"), root / f"{NAME}.safetensors", {"naming": {"threshold": 0.0}, "note": PROMPT})
    save_model(build_tiny("clip_vit_b32"), root / "clip.safetensors")
    write_rgb(root / f"{NAME}.png", np.random.default_rng(0).random((40, 48, 3)))
    header = dcmread(get_testdata_file("CT_small.dcm", download=False))
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SeriesDescription, header.BodyPartExamined = f"t1 {PROMPT}"[:60], "[/b] \x1b[31m"
    header.save_as(root / "scan.dcm")
    write_data(write_dataset(), root / "data" / NAME)
    write_data(write_dataset(), root / "data" / NAME / "kvasir_polyp")
    for name in ("a", f"b{NAME}"):
        main(
            ["evaluate", str(root / f"{NAME}.safetensors"), "--data", str(root / "data" / NAME), "-o", str(root / name)]
        )
    return root


def write_data(source: Path, root: Path) -> None:
    """A copy of a data set whose images and prompts have such names."""
    for split in ("train", "val", "test"):
        records = json.loads((source / f"anns/{split}.json").read_text())
        for record in records:
            for kind, folder in (("img_name", "images"), ("mask_name", "masks")):
                name = IMAGE + record[kind]
                (root / folder).mkdir(parents=True, exist_ok=True)
                shutil.copy(source / folder / record[kind], root / folder / name)
                record[kind] = name
            record["prompts"] = {"p0": "", "p1": PROMPT, f"q{PROMPT}": [PROMPT, f"{PROMPT}\0"]}
        (root / "anns").mkdir(exist_ok=True)
        (root / f"anns/{split}.json").write_text(json.dumps(records))


@pytest.fixture
def call(run, world, monkeypatch, tmp_path):
    """Run a command in a wide window; @ stands for the world's folder and its name. Out and err, checked."""
    monkeypatch.setenv("COLUMNS", "3000")

    def call(*arguments: object, code: int = 0, errors: int | None = None) -> tuple[str, str]:
        places = {"@": str(world), "@weights": str(world / f"{NAME}.safetensors"), "@data": str(world / "data" / NAME),
                  "@picture": str(world / f"{NAME}.png"), "@b": str(world / f"b{NAME}")}  # fmt: skip
        found, out, err = run(*(places.get(str(each), str(each).replace("@/", f"{world}/")) for each in arguments))
        assert found == code, err
        assert errors in (None, sum(line.startswith("error: ") for line in err.split("\n"))), err
        for text in (out, err):
            assert_plain(text)
        return out, err

    return call


def shows(output: str, text: str) -> bool:
    """Whether a text is there, wherever tables fold it."""
    return "".join(text.split()) in "".join(output.split())


def assert_plain(text: str) -> None:
    """Nothing in a text that a terminal obeys or hides."""
    for line in text.split("\n"):
        assert to_terminal(line) == line


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def parse(text: str) -> dict[str, object]:
    return json.loads(text, parse_constant=refuse)


def assert_page(path: Path, *shown: str) -> None:
    """A page of HTML whose text is text."""
    text = path.read_text(encoding="utf-8")
    assert_plain(text.replace("\t", ""))
    assert "<script" not in text
    for each in shown:
        assert to_html(each) in text


def assert_markdown(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert_plain(text)
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    assert all(line.endswith("|") for line in rows)


@pytest.mark.slow
def test_segment(call, tmp_path):
    out, _ = call("segment", "@picture", PROMPT, "--model", "@weights", "-o", tmp_path / NAME)
    assert shows(out, SHOWN_PROMPT)
    assert shows(out, SHOWN_NAME)
    out, _ = call("segment", "@picture", PROMPT, "--model", "@weights", "-o", "other", "--json")
    assert parse(out)["results"][0]["prompt"] == PROMPT


@pytest.mark.slow
def test_name(call, tmp_path):
    out, _ = call("name", "@picture", "--model", "@weights", "--strip", "strip.png", "-o", "names.csv")
    assert shows(out, SHOWN_NAME)
    out, err = call("name", "@/scan.dcm", "--model", "@weights", "--audit", "-o", f"{NAME}.parquet")
    assert shows(out, "[/b]")
    assert shows(err, SHOWN_NAME)
    parse(call("name", "@/scan.dcm", "--model", "@weights", "--json")[0])


@pytest.mark.slow
def test_a_folder_is_named(call, world, tmp_path):
    for file in (f"{NAME}.png", "scan.dcm"):
        (tmp_path / NAME).mkdir(exist_ok=True)
        shutil.copy(world / file, tmp_path / NAME / file)
    out, _ = call("name", tmp_path / NAME, "--model", "@weights")
    assert shows(out, SHOWN_NAME)


TRAIN = ("train", "--model", "@weights", "--data", "@data", "--max-steps", 1, "--set", "prompts.target=polyp")


@pytest.mark.slow
def test_train(call):
    out, err = call(*TRAIN, "-o", NAME, "--json")
    assert shows(err, SHOWN_NAME)
    parse(out)
    parse((Path(NAME) / "manifest.json").read_text())


@pytest.mark.slow
def test_evaluate(call, world, tmp_path):
    out, err = call("evaluate", "@weights", "--data", "@data", "-o", tmp_path / NAME)
    assert shows(out, SHOWN_PROMPT)
    assert shows(err, SHOWN_NAME)
    parse((tmp_path / NAME / "evaluation.json").read_text())
    assert_page(tmp_path / NAME / "report.html", NAME, PROMPT, IMAGE)
    assert_markdown(tmp_path / NAME / "report.md")
    parse(call("evaluate", "@weights", "--data", "@data", "--json")[0])


def test_compare(call):
    out, err = call("compare", "@/a", "@b")
    assert shows(out, SHOWN_NAME)
    assert shows(out, SHOWN_PROMPT)
    assert shows(err, SHOWN_NAME)
    parse(call("compare", "@/a", "@b", "--json")[0])


def test_report(call):
    out, _ = call("report", "@/a")
    assert shows(out, SHOWN_NAME)
    call("report", "@/a", "@b", "-o", "both")
    assert_page(Path("both/report.html"), NAME, PROMPT)
    assert_markdown(Path("both/report.md"))
    parse(Path("both/comparison.json").read_text())


@pytest.mark.slow
def test_audit(call):
    out, _ = call("audit", "@weights", "--data", "@data", "--absent", PROMPT, "-o", NAME, "--pictures", 1)
    assert shows(out, SHOWN_NAME)
    assert_markdown(Path(NAME) / "audit.md")
    parse((Path(NAME) / "audit.json").read_text())
    parse(call("audit", "@weights", "--data", "@data", "--limit", 1, "--json")[0])


RECIPE = """
title = {name}
[data]
sets = ["kvasir_polyp"]
[training]
max_epochs = 1
batch_size = 2
[models."unet_d"]
options = {{ image_size = 32 }}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "code"), [("data", 0), ("nowhere", 1)])
def test_benchmark(call, folder, code):
    Path(f"{NAME}.toml").write_text(RECIPE.format(name=json.dumps(NAME)))
    out, err = call("benchmark", f"{NAME}.toml", "--data", f"@/{folder}/{NAME}", "-o", f"out/{NAME}", code=code)
    assert shows(out, SHOWN_NAME)
    assert shows(err, SHOWN_NAME)
    assert_markdown(Path(f"out/{NAME}/table.md"))
    parse(Path(f"out/{NAME}/table.json").read_text())


def test_data_check(call):
    out, err = call("data", "check", "@data", "--jobs", 1, "-o", NAME, code=1)
    assert shows(out, SHOWN_NAME)
    assert_page(Path(NAME) / "check.html", NAME, IMAGE)
    parse((Path(NAME) / "check.json").read_text())
    parse(call("data", "check", "@data", "--jobs", 1, "--json", code=1)[0])


def test_data_prepare(call, tmp_path):
    plain = NAME.replace("\\", "")  # which ends a folder's name on some systems
    for folder in ("images", "masks"):
        (tmp_path / NAME / folder).mkdir(parents=True)
    for number in range(4):
        write_rgb(
            tmp_path / NAME / "images" / f"{number}{plain}.png", np.random.default_rng(number).random((16, 16, 3))
        )
        if number:
            write_mask(tmp_path / NAME / "masks" / f"{number}{plain}.png", np.eye(16, dtype=bool))
    given = ("--images", tmp_path / NAME / "images", "--masks", tmp_path / NAME / "masks", "--phrase", PROMPT)
    _, err = call("data", "prepare", "custom", *given, f"mine{NAME}", "--val", 0, "--test", 0)
    assert shows(err, SHOWN_NAME)
    assert shows(err, "has no mask")
    parse(call("data", "prepare", "custom", *given, "other", "--json")[0])


def test_data_slices(call, tmp_path):
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros((12, 12, 12), np.int16), np.diag([5.0, 5, 5, 1])), tmp_path / f"{NAME}.nii.gz")
    given = ("data", "slices", tmp_path / f"{NAME}.nii.gz")
    said = ("--modality", "CT", "--stations", "chest")
    _, err = call(*given, NAME, *said)
    assert shows(err, SHOWN_NAME)
    parse(call(*given, "other", *said, "--json")[0])


def test_prompts(call, write_dataset, tmp_path):
    write_data(write_dataset(), tmp_path / NAME)
    _, err = call("prompts", "generate", tmp_path / NAME, "--class", PROMPT, "--replace")
    assert shows(err, SHOWN_PROMPT)
    assert shows(err, SHOWN_NAME)
    parse(call("prompts", "generate", tmp_path / NAME, "--class", PROMPT, "--json")[0])


@pytest.mark.slow
def test_evaluate_naming(call, tiny_slices, tmp_path):
    shutil.copytree(tiny_slices, tmp_path / NAME)
    call("evaluate-naming", "@/clip.safetensors", "--data", NAME, "--min-patients", 1, "-o", f"page{NAME}")
    assert_markdown(tmp_path / f"page{NAME}" / "naming.md")
    parse((tmp_path / f"page{NAME}" / "naming.json").read_text())


def test_lists(call, monkeypatch):
    monkeypatch.setenv("VESALIUS_WEIGHTS", NAME)
    _, err = call("weights", "list")
    assert shows(err, SHOWN_NAME)
    parse(call("weights", "list", "--json")[0])


@pytest.mark.slow
def test_export(call):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out, err = call("export", "@weights", "-o", NAME)
    assert shows(out, SHOWN_NAME)
    assert shows(err, SHOWN_NAME)


WRONG = {
    "a missing picture": ("segment", NAME, "polyp"),
    "an unknown plane": ("segment", "@picture", "polyp", "--plane", NAME),
    "an unknown window": ("segment", "@picture", "polyp", "--window", f"{NAME},"),
    "an unknown model": ("segment", "@picture", "polyp", "--model", NAME),
    "nothing to name": ("name", NAME),
    "a table of no kind": ("name", "@picture", "-o", NAME),
    "a strip of no kind": ("name", "@picture", "--strip", NAME),
    "no data": ("evaluate", "pocket", "--data", NAME),
    "an unknown family": ("evaluate", "@weights", "--data", "@data", "--prompts", NAME),
    "no regular expression": ("evaluate", "@weights", "--data", "@data", "--group-regex", f"({NAME}"),
    "no slices": ("evaluate-naming", "@/clip.safetensors", "--data", NAME),
    "no evaluation": ("compare", "@/a", NAME),
    "nothing to report": ("report", NAME),
    "no model to audit": ("audit", NAME, "--data", "@data"),
    "no recipe": ("benchmark", NAME),
    "no model to export": ("export", NAME, "-o", "out"),
    "no data to check": ("data", "check", NAME),
    "no data to prepare": ("data", "prepare", "kvasir_polyp", NAME, "out"),
    "an unknown data set": ("data", "prepare", NAME, "a", "b"),
    "no volumes": ("data", "slices", NAME, "out"),
    "an unknown station": ("data", "slices", "@/scan.dcm", "out", "--stations", NAME),
    "no data for prompts": ("prompts", "generate", NAME),
    "no templates": ("prompts", "check", "--templates", NAME),
    "no data to train on": ("train", "--model", "@weights", "--data", NAME),
    "no recipe to train by": ("train", "--model", "@weights", "--data", "@data", "--recipe", NAME),
    "no setting": ("train", "--model", "@weights", "--data", "@data", "--set", f"{NAME}=1"),
    "no slices to train on": ("train-naming", "--model", "@/clip.safetensors", "--data", NAME),
    "unknown weights to fetch": ("weights", "fetch", NAME),
    "unknown weights to find": ("weights", "path", NAME),
    "unknown weights to verify": ("weights", "verify", NAME),
    "nothing to import": ("weights", "import", NAME, "-o", "x.safetensors"),
    "an unknown layout": ("weights", "import", "@picture", "--as", NAME, "-o", "x.safetensors"),
    "an unknown command": (NAME,),
    "an unknown option": ("segment", "@picture", "polyp", f"--{NAME}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line(call, case):
    out, err = call(*WRONG[case], code=2, errors=1)
    assert out == ""
    assert shows(err, SHOWN_NAME)


DAMAGED = {
    "a recipe": ("train", "--model", "@weights", "--data", "@data", "--recipe", "file"),
    "a benchmark": ("benchmark", "file"),
    "templates": ("prompts", "check", "--templates", "file"),
    "a picture": ("segment", "file.png", "polyp"),
    "a DICOM file": ("segment", "file.dcm", "polyp"),
    "a volume": ("segment", "file.nii", "polyp"),
    "weights": ("segment", "@picture", "polyp", "--model", "file.safetensors"),
    "weights to import": ("weights", "import", "file.pt", "--as", "openai-clip", "-o", "x.safetensors"),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize(
    "content", [f"{NAME} = 1\n[{NAME}]", f'a = {json.dumps(NAME)}\n"{PROMPT[:8]}" = 1'], ids=["broken", "unknown"]
)
def test_what_a_damaged_file_holds_is_told_in_one_line(call, case, content):
    for suffix in ("", ".png", ".dcm", ".nii", ".safetensors", ".pt"):
        Path(f"file{suffix}").write_text(content)
    out, _ = call(*DAMAGED[case], code=2, errors=1)
    assert out == ""


@pytest.mark.slow
def test_names_that_are_not_unicode_are_shown_too(call, world, tmp_path, write_dataset):
    odd = tmp_path / "\udcff.png"
    shutil.copy(world / f"{NAME}.png", odd)
    out, _ = call("segment", odd, "polyp", "--model", "@weights")
    assert shows(out, r"\udcff")
    out, _ = call("name", odd, "--model", "@weights", "-o", "names.csv", "--strip", "s.png")
    assert shows(out, r"\udcff")
    call("name", odd, "--model", "@weights", "-o", "names.parquet")
    assert parse(call("name", odd, "--model", "@weights", "--json")[0])["series"][0]["source"] == str(odd)
    _, err = call("segment", "\udcfe.png", "polyp", code=2)
    assert shows(err, r"\udcfe.png")
    shutil.copytree(write_dataset(), tmp_path / "\udcfd")
    call("data", "check", tmp_path / "\udcfd", "--jobs", 1, "-o", "checked")
    assert_page(tmp_path / "checked" / "check.html", "\udcfd")


def test_a_picture_that_says_something_says_it_as_text(call, tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "scan [anonymous].png")
    out, _ = call("name", "scan [anonymous].png", "--model", "@weights")
    assert shows(out, "scan [anonymous].png")
