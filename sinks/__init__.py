"""The ClickHouse stage: stores what the topics say, in tables analysts read through views. It computes nothing."""
