"""Engines under load: throughput and latency over the number of requests in flight, or over their rate."""
