"""The report: findings, statement, figures, and the files HTML, PDF, JUnit XML and Markdown."""
