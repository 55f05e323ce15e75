"""The only adapters between our types and ROS types; importing a module here needs rclpy."""
