"""A PACS on both sides: series in over DICOMweb or C-STORE, results back, and a queue between that loses nothing.

`listener` puts what arrives into the `series_queue`, whose series are of `states`; `worker` takes them out, does what
`rules` ask for, and has `sending` send results back, to a node or to a `dicomweb` service. `guard` ends associations
that hang; `settings` say where the listener listens; `addresses` checks what others are called.
"""
