"""From pictures to answers: prefetching, the main loop, the journal, and aggregation of samples."""
