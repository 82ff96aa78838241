"""Pages of the local provider, in test mode only: where a real provider would show its checkout and its portal."""
