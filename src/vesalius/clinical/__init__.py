"""Results as DICOM objects, for a PACS and its viewers; needs highdicom, which `vesalius[clinical]` installs.

`source` says which instances a result refers to, `coding` which codes it uses; `masks` writes segmentations, `report`
structured reports, `capture` secondary captures. `work` makes them from a request. `deidentify` copies images by the
standard's `profile`.
"""
