"""From events to what is true now: pure meaning, and the two Faust apps `resolve` and `watch` around it."""
