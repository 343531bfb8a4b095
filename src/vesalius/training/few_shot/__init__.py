"""Learning from a handful of labelled images: the encoders stay as they are, only what stands for a label changes."""
