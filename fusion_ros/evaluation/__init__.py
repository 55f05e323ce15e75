"""Evaluation: methods on recordings, as numbers, plots and pictures that can be had again.

A :class:`~.run.Plan` names recordings, methods, conditions and metrics. Its pieces (``work``) are done by an
executor (``executors``) and kept (``store``) until all are there; ``results`` is what was found, ``report``
and ``tables`` show it, ``comparison`` holds two of them against each other.
"""
