"""The library below the commands; CONTRIBUTING.md says which part may import which."""
