"""Where the engine meets other people's frameworks."""
