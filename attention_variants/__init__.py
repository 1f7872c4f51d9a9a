"""The pluggable attentions, one file per mechanism. A new file here is a new name on the command line."""
