"""The plugin contract: what a plugin implements, returns from a hook or is handed.

Imports ``records`` only. Everything else imports it, plugins first: its modules are public names (docs/promise.md), so
a change here is a change of the plugin API.
"""
