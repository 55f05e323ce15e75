"""The only adapters between our types and ROS types; importing a module here, but for dds, needs ROS."""
