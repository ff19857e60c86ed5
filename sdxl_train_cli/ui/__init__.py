"""All that a person sees: the console, the live view and the two web pages."""
