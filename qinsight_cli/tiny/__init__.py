"""The embedded checkpoint `tiny` (package data); its model card is README.md beside this file."""
