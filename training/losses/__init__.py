"""Training losses: one paper, one file."""
