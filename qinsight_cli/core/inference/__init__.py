"""From pictures to answers that survive a crash: prefetching, the loop, the journal, many answers into one."""
