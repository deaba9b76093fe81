"""What figures share: style, bars, series and axes. Plugins that draw import these modules (docs/promise.md).

Imports: collate, contract, records, viz.terminal. Imported by: api, cli, plugins, viz, viz.figures, viz.report,
viz.slides, viz.terminal.
"""
