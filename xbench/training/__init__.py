"""Accuracy: one recipe for every attention, in the same skeleton, from the same weights, on the same pixels.

``recipe.py`` says how, ``job.py`` what, ``loop.py`` does it, ``checkpoint.py`` keeps it, ``evaluation.py`` judges it.
"""
