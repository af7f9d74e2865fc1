"""Delivery: transitions of alerts, and single negative votes, to webhooks, Slack and Alertmanager."""
