"""Scores with intervals: of masks (segmentation, compare, report), of prompts (audit) and of names (naming)."""
