"""Segmenting and naming as a service over HTTP, for a page in the browser, other people's viewers and programs."""
