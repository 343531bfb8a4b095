"""Columns of the tables that an archive consists of, schema 1; docs/archive.md explains each of them."""

import pyarrow as pa

from vesalius.models.checkpoint_file import Job
from vesalius.prompts.anatomy import ORGANS, STATIONS

PLACE = [
    ("key", pa.string()),
    ("source", pa.string()),
    ("series_uid", pa.string()),
    ("stack", pa.int32()),
    ("slice", pa.int32()),
    ("file", pa.string()),
    ("frame", pa.int32()),
    ("position_mm", pa.float64()),
    ("plane", pa.string()),
    ("content", pa.string()),
    ("notices", pa.string()),
]
"""What every row says of the slice that it is about."""
NAME = pa.schema(
    [
        *PLACE,
        ("modality", pa.string()),
        ("modality_source", pa.string()),
        ("protocol", pa.string()),
        ("purpose", pa.string()),
        ("header_body_part", pa.string()),
        ("stations", pa.list_(pa.string())),
        ("organs", pa.list_(pa.string())),
        *((f"p({label})", pa.float32()) for label in (*STATIONS, *ORGANS)),
    ]
)
SEGMENT = pa.schema(
    [
        *PLACE,
        ("modality", pa.string()),
        ("phrase", pa.string()),
        ("answer", pa.string()),
        ("target", pa.string()),
        ("existence", pa.float64()),
        ("run_existence", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("marked", pa.int64()),
        ("area_mm2", pa.float64()),
    ]
)
MASKS = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("series_uid", pa.string()),
        ("stack", pa.int32()),
        ("slice", pa.int32()),
        ("phrase", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("png", pa.binary()),
    ]
)
FAILURES = pa.schema([("key", pa.string()), ("source", pa.string()), ("reason", pa.string()), ("tries", pa.int32())])
ROWS: dict[Job, pa.Schema] = {"name": NAME, "segment": SEGMENT}
