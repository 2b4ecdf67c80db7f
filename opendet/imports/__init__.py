"""How data that lie somewhere become a build of this project."""
