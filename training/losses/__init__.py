"""Training losses: one paper, one file; what several share has files of its own."""
