"""Files to batches: readers, builders, tokenisation, packing, pipeline."""
