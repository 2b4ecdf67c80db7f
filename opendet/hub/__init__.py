"""Models by name: from the Hugging Face hub, and to it."""
