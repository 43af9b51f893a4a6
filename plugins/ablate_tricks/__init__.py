"""The tricks that come with ablate, one file each, found through the same entry points as anyone's."""
