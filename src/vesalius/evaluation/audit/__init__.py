"""The prompt audit: how a model's masks change when other prompts are substituted.

Every test substitutes one prompt for another about the same image: other words for the same thing, another image's
words, no words, words for something that is not there, one attribute flipped.
"""
