"""Metrics, as pure functions on plain values: accuracy, hierarchy, calibration, and all of them at once."""
