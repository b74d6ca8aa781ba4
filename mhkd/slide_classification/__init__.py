"""``mhkd classify``: a trained classifier on images, and on slides piece by piece of tissue or as a whole."""
