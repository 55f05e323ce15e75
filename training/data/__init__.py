"""Training data: paired folders and the crops that are taken from them."""
