"""What a good user of another library would write for the same work; each file is one library on one task.

Every function returns sides: ways to do the work that are worth trying, of which a benchmark quotes the quickest.
"""
