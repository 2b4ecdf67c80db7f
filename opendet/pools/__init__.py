"""What a person can know of a prototype pool: its health, its card, what two pools differ in."""
