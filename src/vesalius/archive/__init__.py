"""Whole archives: images to tables and masks, each exactly once, on one machine or a cluster; and search of them.

A run (`vesalius archive run`, `status`) reads from `request` (what is asked), `listing` and `sources` (which images
there are, as `items`), `log` and `plan` (what of them is left) to `run` and `ray_run`; their workers (`worker`) do
items (`work`) in processes of their own (`child`). Results lie in a `store`, by a `schema`; `read` and `status` open
them.

A search (`vesalius archive index`, `search`) reads from `encoding` (slices to vectors and labels), `index` (both on
disk, made from `facts`) and `indexing` (bringing it up to date) to `query` (how a phrase is read), `search`, `sheet`.
"""
