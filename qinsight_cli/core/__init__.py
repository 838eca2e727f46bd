"""The machinery below the commands. Arrows run downward: see CONTRIBUTING.md."""
