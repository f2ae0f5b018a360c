"""Train: a network along a curriculum."""
