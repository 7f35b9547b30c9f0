"""Runs on disk and what is started on them: reports, jobs, stored attribution maps, the dashboard's server."""
