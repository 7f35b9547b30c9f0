"""Parts of pages: a panel reads a stored report and draws one chart or table with its sentence."""
