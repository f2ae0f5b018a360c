"""Export: the used images, with their curriculum, as other tools read them."""
