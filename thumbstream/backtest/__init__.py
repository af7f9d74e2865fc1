"""What monitors would have said: history through the alert engine, with incidents put in."""
