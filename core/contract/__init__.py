"""The plugin contract: what a plugin implements, returns from a hook or is handed.

Its modules are public names (docs/promise.md), so a change here is a change of the plugin API.

Imports: records. Imported by: api, cli, collate, collate.speculation, conformance, decodebench, host, isolation,
measure, plugins, sdk, viz, viz.drawing.
"""
