"""What decides and runs."""
