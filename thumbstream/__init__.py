"""Command line, settings, telemetry and the local stack: the only package that composes the stages."""
