"""From pictures to answers: prefetching, the main loop, the journal and the cache, and the aggregation of samples."""
