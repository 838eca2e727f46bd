"""One verb, one file: parse options, call core, print."""
