"""What tests send to a service, and how they read its answers."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from starlette.testclient import TestClient


def half_bright(height: int = 24, width: int = 32) -> np.ndarray:
    """A picture whose right half is bright."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 2 :] = 255
    return picture


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def pack(entries: dict[str, bytes], *, change: Callable[[zipfile.ZipInfo], None] = lambda entry: None) -> bytes:
    """A zip file, of whose entries each may be changed before it is written."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            change(entry)
            archive.writestr(entry, content)
    return stream.getvalue()


def nifti(values: np.ndarray, affine: np.ndarray, folder: Path, name: str = "volume.nii.gz") -> bytes:
    nib.save(nib.Nifti1Image(values, affine), folder / name)
    return (folder / name).read_bytes()


def read_nifti(content: bytes, folder: Path) -> nib.Nifti1Image:
    path = folder / "answer.nii.gz"
    path.write_bytes(content)
    return nib.load(path)


def send(client: TestClient, content: bytes, name: str = "scan.png", **headers: str) -> dict:
    """Upload one file, and say what is known of it."""
    answer = client.post("/api/uploads", files=[("files", (name, content))], headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def ask(client: TestClient, upload: dict, *phrases: str, **more: object) -> list[dict]:
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": list(phrases), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]
