"""Placeholder so that the entry point resolves while the command line is being written."""
