"""Segmenters as graphs that ONNX Runtime and OpenVINO run: traced, quantised, checked, measured."""
