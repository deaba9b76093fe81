"""The host: the plugin contract, the runner, the schema and the store. Imports no plugin."""
