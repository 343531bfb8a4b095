"""A PACS on both sides: series in over DICOMweb or C-STORE, results back, and a queue between that loses nothing."""
