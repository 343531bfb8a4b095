"""Evaluation: numbers people can trust."""
