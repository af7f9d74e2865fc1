"""Ingestion: what comes in over HTTP or from a service becomes an event on the topic, or a refusal with a reason."""
