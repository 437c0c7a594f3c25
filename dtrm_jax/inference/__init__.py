"""From a trained model to predictions, without the corpus that it was trained on."""
