"""What the gateway serves to browsers: the web component `<feedback-buttons>`."""
