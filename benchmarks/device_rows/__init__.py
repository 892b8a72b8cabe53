"""What `accelerator.py` measures: one file for each kind of work, and the order of its rows.

Every such file has `ROWS`, name -> function of a `Setting`, which hands each `Found` to `setting.tell` at once.
"""
