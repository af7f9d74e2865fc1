"""One module per verb of the command line. Each composes stages with settings; none holds meaning."""
