"""What is warm, and who warms it."""
