"""Predicting files: conversations in the formats that people have, their emotions in the formats that people want."""
