"""Files to batches: readers, the cache of parsed corpora, tokenisation, examples, plans, packs, the pipeline."""
