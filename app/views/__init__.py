"""The dashboard's pages, one module a page; each reads, charts, and says in a sentence what the chart means here."""
