"""The edges: each meets one thing of the outside world, and none knows another."""
