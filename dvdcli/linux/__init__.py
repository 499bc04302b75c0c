"""What the kernel offers: files that survive a power cut, the mount table, namespaces."""
