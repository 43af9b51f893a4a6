"""The tricks that come with ablate, one file each, found through entry points like anyone's."""
