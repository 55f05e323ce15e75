"""Camera models and image warps."""
