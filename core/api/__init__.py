"""The Python API: run, open, compare, and one backend opened for requests. The command line is a thin layer on it.

Functions return data and raise ``DecodebenchError``; nothing here prints or ends the process. May import every room
but ``cli``; imported by ``cli`` and, name by name, by the package itself.
"""
