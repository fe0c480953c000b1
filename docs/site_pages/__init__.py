"""What the docs site adds to its Markdown pages when it is built. Nothing of it is imported by the package."""
