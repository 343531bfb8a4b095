"""The bodies of requests and answers, as /openapi.json describes them."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from vesalius.serve.settings import LONGEST_PHRASE, MOST_PHRASES


def check_text(text: str) -> str:
    """A text that UTF-8 can hold.

    Raises:
        ValueError: If it has halves of characters, as JSON may.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half a character") from error
    return text


Phrase = Annotated[str, Field(min_length=1, max_length=LONGEST_PHRASE), AfterValidator(check_text)]


class ErrorFacts(BaseModel):
    """What is wrong, where, what was expected, what came, and what to do."""

    what: str
    where: str | None = None
    expected: str | None = None
    got: str | None = None
    remedy: str | None = None


class ErrorAnswer(BaseModel):
    """The body of every answer that is none."""

    error: ErrorFacts


class SeriesInfo(BaseModel):
    """A picture, volume or series under its handle."""

    id: str
    kind: str = Field(description="picture, or volume for series, clips and volume files")
    name: str
    width: int
    height: int
    depth: int = Field(description="number of slices; 1 for pictures")
    spacing_mm: list[float] | None = Field(description="distance of columns, of rows and, in volumes, of slices")
    modality: str | None
    plane: str | None
    dicom: bool = Field(description="whether seg.dcm and sr.dcm can be had")
    slice_axis: int | None = Field(description="axis of the .nii.gz files along which slices lie; null for pictures")
    slice_reversed: bool = Field(description="whether slice 0 as displayed is the last along that axis")
    placed: bool = Field(
        description="whether the file says where the image lies in the patient; if not, its .nii.gz files say how it "
        "lies on a screen, and left, right and millimetres mean nothing"
    )
    notices: list[str] = Field(description="what was left out or guessed")
    expires_at: str = Field(description="when it is deleted unless somebody asks for it")


class UploadInfo(SeriesInfo):
    """The largest series of an upload, and a handle of each where there are several."""

    series: list[SeriesInfo] = Field(default=[], description="all series where there are several, the largest first")


class SegmentRequest(BaseModel):
    """Phrases to outline."""

    phrases: list[Phrase] = Field(min_length=1, max_length=MOST_PHRASES, examples=[["polyp"]])
    threshold: float = Field(default=0.5, gt=0, lt=1, description="probability above which a pixel is marked")


class ResultInfo(BaseModel):
    """What was found for one phrase."""

    number: int
    phrase: str
    target: str | None = Field(description="the learnt target that the phrase names")
    known: bool = Field(description="whether the model learnt what the phrase names")
    expected: bool = Field(description="whether it learnt it on pictures of this kind")
    existence: float | None = Field(description="probability that the image shows it; null if it was not asked")
    reason: str | None = Field(description='"not learnt", "not expected here" or "a denial"; null if it was asked')
    remark: str | None = Field(description="a sentence that the user should read")
    family: str | None = Field(default=None, description="family of targets that a word such as 'tumour' names")
    considered: dict[str, float] = Field(default={}, description="of such a word, existence of all that was looked for")
    nearest: list[str] = Field(description="learnt targets that an unknown phrase resembles")
    share: float | None = Field(description="share of all pixels that are marked")
    volume_ml: float | None
    threshold: float
    notices: list[str]
    slice_existence: list[float | None] | None = Field(default=None, description="existence in each slice alone")
    slices_marked: list[int] | None = Field(default=None, description="slices with a mark, from 0 as displayed")
    mask: str | None = Field(description="address of the mask; null if the model was not asked")
    probability: str | None


class SegmentAnswer(BaseModel):
    """What was found for each phrase."""

    results: list[ResultInfo]


class TargetInfo(BaseModel):
    """A target that the model learnt."""

    target: str
    names: list[str] = Field(description="names to suggest, the plain one first")
    modalities: list[str]
    learnt_on: list[str] = Field(description="the same in words")
    pictures: int = Field(description="training pictures that showed it")


class ModelInfo(BaseModel):
    """The model that answers."""

    name: str
    version: str = Field(description="of Vesalius")
    targets: list[TargetInfo] = Field(description="what it learnt; empty if it does not say")
