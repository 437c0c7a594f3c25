"""Fusions of modalities: MGIF (section 4.2) and those of Table 5."""
