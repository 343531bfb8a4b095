import asyncio
import sys

import numpy as np
import pytest
from serve_client import half_bright, nifti, png

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from vesalius.errors import ConfigError, OutputError, PromptError
from vesalius.imaging.mask_volumes import STRAIGHTENED
from vesalius.serve.agents import AgentTools

START = "import sys; from vesalius.cli import main; main(sys.argv[1:])"


@pytest.fixture
def tools(tmp_path, bright) -> AgentTools:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/scan.png").write_bytes(png(half_bright()))
    made = AgentTools([tmp_path / "images"], "pocket")
    made.predictor.runtime = bright
    return made


def test_masks_are_written_where_the_agent_says_and_replace_nothing(tools, tmp_path):
    told = tools.segment("scan.png", ["liver", "fracture"], "out")
    known, unknown = told["results"]
    assert known["mask"].endswith("scan.liver.mask.png")
    assert (tmp_path / "images/out/scan.liver.mask.png").is_file()
    assert (unknown["known"], "mask" in unknown) == (False, False)
    with pytest.raises(OutputError, match="there already"):
        tools.segment("scan.png", ["liver"], "out")
    with pytest.raises(PromptError, match="stands twice"):
        tools.segment("scan.png", ["liver", "LIVER"], "other")


def test_what_writing_changed_is_told(tools, monkeypatch):
    monkeypatch.setattr("vesalius.results.write_masks", lambda *_: (STRAIGHTENED,))
    assert tools.segment("scan.png", ["liver"], "out")["notices"] == [str(STRAIGHTENED)]


def test_a_word_for_a_family_is_answered_by_its_likeliest_member(tools, tmp_path):
    (told,) = tools.segment("scan.png", ["tumour"], "out")["results"]
    assert told["family"] == "tumour"
    assert told["target"] in told["considered"]
    assert (tmp_path / "images/out/scan.tumour.mask.png").is_file()


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "link/secret.png", "a\0b", "x" * 5000])
def test_nothing_outside_the_folders_is_read_or_written(tools, tmp_path, path):
    (tmp_path / "secret.png").write_bytes(png(half_bright()))
    (tmp_path / "images/link").symlink_to(tmp_path)
    for ask in (
        lambda: tools.segment(path, ["liver"], "out"),
        lambda: tools.segment("scan.png", ["liver"], path),
        lambda: tools.name(path),
    ):
        with pytest.raises(ConfigError, match="outside the folders"):
            ask()


def test_what_was_learnt_is_told_and_folders_are_needed(tools):
    learnt = {each["target"]: each["learnt_on"] for each in tools.models()["targets"]}
    assert "endoscopy" in learnt["polyp"]
    with pytest.raises(ConfigError, match="--folder"):
        AgentTools([], "pocket")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--port", "8080", "--host", "::1"), "--host, --port: of the service over HTTP"),
        (("--timeout-seconds", "1", "--dicomweb", "http://pacs/"), "--dicomweb, --timeout-seconds: of the service"),
        (("--allow-host", "a", "--store", "x", "--keep-minutes", "1"), "--store, --allow-host, --keep-minutes: of"),
    ],
)
def test_options_of_the_service_are_refused_for_agents(run, tmp_path, options, told):
    code, _, said = run("serve", "--mcp", "--folder", str(tmp_path), *options)
    assert code == 2
    assert told in " ".join(said.split())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_agent_speaks_with_it_over_its_protocol(tools, tmp_path):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    command = ["-c", START, "serve", "--mcp", "--folder", str(tmp_path / "images")]

    async def talk():
        server = StdioServerParameters(command=sys.executable, args=command)
        async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
            await session.initialize()
            names = [each.name for each in (await session.list_tools()).tools]
            wanted = {"image": "scan.png", "phrases": ["polyp"], "out": "out"}
            done = await session.call_tool("segment", wanted)
            refused = await session.call_tool("name", {"path": "../secret.png"})
            return names, done, refused

    names, done, refused = asyncio.run(talk())
    assert sorted(names) == ["models", "name", "segment"]
    assert not done.is_error
    assert (tmp_path / "images/out/scan.polyp.mask.png").is_file()
    assert refused.is_error
    assert "outside the folders" in refused.content[0].text


def test_links_within_a_folder_lead_nowhere_else(tools, tmp_path):
    (tmp_path / "images/series").mkdir()
    (tmp_path / "secret.png").write_bytes(png(half_bright()))
    (tmp_path / "images/series/a.png").symlink_to(tmp_path / "secret.png")
    for path in ("series", "series/a.png"):
        with pytest.raises(ConfigError, match="outside the folders"):
            tools.segment(path, ["liver"], "out")
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "images/scan.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ConfigError, match="outside the folders"):
        tools.segment("scan.png", ["liver"], "out")


def test_of_several_series_it_is_told_which_was_read(tools, tmp_path):
    (tmp_path / "images/series").mkdir()
    for name in ("front.png", "side.png"):
        (tmp_path / "images/series" / name).write_bytes(png(half_bright()))
    (notice,) = tools.segment("series", ["liver"], "out")["notices"]
    assert "1 of 2 series left out: side.png. Only that of front.png" in notice


def test_what_a_name_rests_on_is_told(tools, tmp_path):
    values = np.arange(24 * 24 * 3, dtype=np.int16).reshape(24, 24, 3)
    (tmp_path / "images/unplaced.nii.gz").write_bytes(nifti(values, None, tmp_path))
    told = " ".join(AgentTools(tools.folders, "pocket").name("unplaced.nii.gz")["notices"])
    assert "place in the patient unknown" in told


def test_other_stacks_of_a_series_are_told(tools, write_echoes, tmp_path):
    write_echoes(tmp_path / "images/echoes")
    (notice,) = tools.segment("echoes", ["liver"], "out")["notices"]
    assert "1 of 4 slices left out: the largest of 2 stacks is taken: 1 (axial, 3 slices" in notice
