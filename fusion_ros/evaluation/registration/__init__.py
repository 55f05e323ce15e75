"""How good aligners are, measured against deformations that are known."""

from __future__ import annotations

from .aligners import ALIGNERS, Aligner, open_aligner
from .measure import PairImages, measure_pair
from .results import AlignerFacts, AlignmentEvaluation, AlignmentRecord, Summary

__all__ = [
    "ALIGNERS",
    "Aligner",
    "AlignerFacts",
    "AlignmentEvaluation",
    "AlignmentRecord",
    "PairImages",
    "Summary",
    "measure_pair",
    "open_aligner",
]
