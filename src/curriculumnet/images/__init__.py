"""Pictures: where their bytes lie, how they become pixels, which are copies, how they are cropped and loaded."""
