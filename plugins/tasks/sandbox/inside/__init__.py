"""What runs inside a sandbox: two processes that talk over pipes, one with the tests and one with the answer.

``launcher`` starts them, ``judge`` runs the tests and says how they ended, ``answer`` runs the answer and does what it
is asked, ``wire`` carries ``values`` between them. Nothing but this folder and the standard library is imported here,
since the modules travel into the sandbox as compiled code.
"""
