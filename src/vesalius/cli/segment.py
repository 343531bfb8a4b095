"""``vesalius segment IMAGE PROMPT…``."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vesalius.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from vesalius.knowledge import Understanding
    from vesalius.results import Result


def segment(
    image: Path,
    /,
    *prompts: str,
    model: str = "pocket",
    out: Annotated[Path, Parameter(alias="-o")] = Path("segmentation"),
    overwrite: bool = False,
    plane: Literal["axial", "coronal", "sagittal"] | None = None,
    window: str | None = None,
    series: str | None = None,
    stack: int | None = None,
    volume: int | None = None,
    frame: int | None = None,
    runtime: Literal["auto", "onnx", "torch"] = "auto",
    device: str = "auto",
    precision: Literal["32", "16-mixed", "bf16-mixed"] = "32",
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Outline what phrases name in a picture, a DICOM file or series, or a volume.

    Pictures get a mask (PNG, at the picture's own size) and an overlay for each phrase; series and volumes a mask
    volume (NIfTI, on the file's own voxel grid) and a sheet of overlays. segmentation.json in the folder of results
    says what each file was made from.

    What the model never learnt ("fracture"), or learnt on other kinds of pictures, gets no mask and no probability, but
    "not learnt" or "not expected here" and a line that says why; `vesalius models pocket` lists what it learnt.

    Examples:
        vesalius segment scan.png polyp "breast tumour"
        vesalius segment head.nii.gz brain --plane axial -o results
        vesalius segment scan.dcm lungs --window lung --json
        vesalius segment bold.nii.gz brain --volume 3 --overwrite

    Documentation:
        README.md

    Args:
        image: A PNG, JPEG or TIFF file, a DICOM file, a folder with a series, or a NIfTI volume.
        prompts: What to outline, for example "polyp".
        model: A model's name, a checkpoint or a run's folder.
        out: Folder for the results.
        overwrite: Replace results that are there.
        plane: Plane in which to go through a volume.
        window: Window of a CT: a name such as "lung", or center and width in HU such as "40,400".
        series: Of a folder with several DICOM series, the one to read: its UID, or its number from 1 as the message
            lists them.
        stack: Of a DICOM series with several stacks of slices (echoes, orientations), the one to read, from 1.
        volume: Of a NIfTI file with several volumes, the one to read, from 1.
        frame: Of a multi-frame DICOM file or a TIFF, the only frame to read, from 1.
        runtime: Program that runs the model: onnx (pocket and what was fine-tuned from it, on the CPU), torch (any
            model, anywhere), or the first that fits.
        device: Where it computes: auto, cpu, cuda, cuda:1 or mps. On a GPU everything runs in PyTorch.
        precision: Numbers it computes with in PyTorch.
        as_json: Print one JSON object.
    """
    from vesalius.console import print_json, print_table, progress_bar, say
    from vesalius.imaging import read_image
    from vesalius.imaging.notices import warn_of
    from vesalius.predict import Predictor, check_prompts
    from vesalius.results import Results

    check_prompts(prompts)
    _refuse_files(prompts)
    shades = _to_window(window)
    picture = read_image(image, series=series, stack=stack, volume=volume, frame=frame)
    slices = picture.slices(plane, shades)
    choices = {"plane": plane, "window": window, "series": series, "stack": stack, "volume": volume, "frame": frame}
    made_by = {"model": model, **{name: value for name, value in choices.items() if value is not None}}
    predictor = Predictor(model, runtime=runtime, device=device, precision=precision)
    made_by |= {"runtime": predictor.runtime.name, "device": predictor.runtime.device}
    understood = [predictor.knowledge.understand(prompt, slices.modality) for prompt in prompts]
    asked = [each.prompt for each in understood if each.asked is not None]
    results = Results(out, picture, slices, asked, overwrite=overwrite, made_by=made_by)
    if asked:
        with progress_bar() as bar:
            for answers in bar.track(predictor.predict_slices(slices, asked), len(slices), description="Segmenting"):
                results.add(answers)
    found = iter(results.write() if asked else ())
    answered = [(each, None if each.asked is None else next(found)) for each in understood]
    warn_of(results.notices, picture.source)
    if as_json:
        notices = [notice.to_dict() for notice in (*picture.notices, *results.notices)]
        told = [each.to_dict() | ({} if item is None else item.to_dict()) for each, item in answered]
        print_json({"image": str(image), "model": model, "notices": notices, "results": told})
        return
    print_table(("prompt", "there?", "marked", "overlay"), [_row(each, item) for each, item in answered])
    for each in understood:
        if each.remark:
            say(each.remark)


def _row(understood: "Understanding", item: "Result | None") -> tuple[object, ...]:
    """A row of the table."""
    if item is not None:
        return item.prompt, item.existence, f"{100 * item.share:.2f} %", item.overlay
    return understood.prompt, "not learnt" if not understood.known else "not expected here", None, None


def _refuse_files(prompts: Sequence[str]) -> None:
    """Only one image is segmented at a time; further ones would be taken for phrases.

    Raises:
        PromptError: If a prompt is the path of a file.
    """
    for prompt in prompts:
        try:
            there = Path(prompt).is_file()
        except (OSError, ValueError):  # too long, or with characters that no path has
            continue
        if there:
            raise PromptError(
                f"'{prompt}' is a file where a phrase is expected: one image at a time is segmented. For several, call "
                f'the command once for each, for example: for each in *.png; do vesalius segment "$each" polyp; done'
            )


def _to_window(text: str | None) -> str | tuple[float, float] | None:
    if text is None or "," not in text:
        return text
    expected = "--window: expected a name or CENTER,WIDTH such as 40,400"
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{expected}; got '{text}'.") from error
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        raise ConfigError(f"{expected}, two finite numbers with a width above 0; got '{text}'.")
    return center, width
