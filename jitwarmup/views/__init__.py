"""What people look at: a Report turned into text, a page, an explanation, a comparison."""
