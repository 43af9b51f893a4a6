"""One file for each subject: `measure(place) -> Result`."""
