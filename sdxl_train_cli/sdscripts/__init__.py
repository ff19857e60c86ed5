"""All that is known of sd-scripts, each fact once: options, optimizers, buckets, its output, its files, its argv."""
