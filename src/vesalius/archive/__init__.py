"""Whole archives: any number of images to tables and masks, on one machine or a cluster, each exactly once."""
