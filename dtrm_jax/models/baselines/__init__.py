"""The models that the paper compares DialogueTRM with, and some that came after it; one file each."""
