"""Registers as makers publish them: a spreadsheet, to a profile.

``sheet.py`` reads the file, ``columns.py`` tells which column is what, ``cells.py`` what a cell says,
``bases.py`` where the addresses count from, ``names.py`` makes names of points, ``rows.py`` points of rows,
and ``read.py`` the profile.
"""
