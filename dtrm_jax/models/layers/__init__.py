"""Layers that belong to no one model: attention, masks, the Transformer encoder, dropout, products in bfloat16."""
