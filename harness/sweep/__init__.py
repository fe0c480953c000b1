"""Which launches are left, and who measures them. Only this package knows plan, execution and store."""
