"""Running a study into a directory, going on with it, and the report of what it found."""
