"""What lies in the folder of a training besides what is read again. Imports nothing."""

ANSWERS = "answers.png"  # what the model says of some test pictures, beside the truth
