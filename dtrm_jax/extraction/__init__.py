"""Features of own conversations: of recordings by openSMILE, of texts by the encoder of a trained model."""
