"""Evaluation: methods on recordings, as numbers, plots and pictures that can be had again.

``results`` is what was found, ``report`` shows it.
"""
