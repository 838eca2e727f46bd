"""The commands, one file each: parse options, call core, print."""
