"""Chaos of the whole product: three brokers, two of every stage, ClickHouse, HTTP clients and direct producers."""
