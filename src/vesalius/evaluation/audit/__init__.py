"""The prompt audit: what happens to a model's masks when the words are exchanged.

Every test is an exchange of one prompt for another about the same image: other words for the same thing, another
image's words, no words, words for something that is not there, one attribute turned round.
"""
