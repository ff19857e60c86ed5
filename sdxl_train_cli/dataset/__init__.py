"""Pictures and captions as sd-scripts will see them."""
