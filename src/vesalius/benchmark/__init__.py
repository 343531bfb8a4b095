"""Benchmarks: every model of a recipe trained and scored on every data set, cell by cell."""
