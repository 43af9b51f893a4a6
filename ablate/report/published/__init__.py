"""The paper's own figures beside measured ones: the data, which cell is which, what differs."""
