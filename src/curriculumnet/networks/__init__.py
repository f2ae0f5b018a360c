"""Networks: making, saving and loading them, and asking them."""
