"""Shows that the system keeps its promises when things go wrong: each fault with its bar."""
