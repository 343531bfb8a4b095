"""Whole archives: images to tables and masks, on one machine or a cluster, each exactly once; and search of them."""
