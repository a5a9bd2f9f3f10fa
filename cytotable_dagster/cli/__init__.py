"""The shell: `cytotable-dagster`."""
