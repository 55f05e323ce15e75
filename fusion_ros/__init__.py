"""fusion_ros: thermal and colour cameras in, one fused image out, at camera rate."""

__version__ = "0.1.0"
