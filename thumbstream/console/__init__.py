"""Reading side: what vendors' clients ask about feedback, answered from ClickHouse's views."""
