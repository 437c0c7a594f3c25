"""A trained model behind a page for people and an HTTP endpoint for programs (``dtrm-serve``)."""
