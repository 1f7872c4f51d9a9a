"""What was called otherwise before, and is still understood. Imports nothing: arguments are read before all else."""

# What is asked of a study: in study files, also those of older commits, in Python, and as options.
STUDY_NAMES = {"baseline": "model", "against": "reference"}
