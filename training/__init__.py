"""Offline training: ``python -m training <recipe>``, then ``python -m training publish``.

Not part of the installed package: nothing in ``fusion_ros`` imports it.
"""
