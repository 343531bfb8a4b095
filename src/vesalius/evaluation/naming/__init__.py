"""How well a model names what slices show: metrics, calibration, contradictions, baselines, figures and a page.

``evaluate_naming`` in ``evaluate.py`` does all of it for one model; ``page.py`` writes down several side by side.
"""
