"""What figures share: style, bars, series and axes. Plugins that draw import these modules (docs/promise.md)."""
