"""ROS 2 nodes: parameters, subscriptions and publishers around the ROS-free core."""
