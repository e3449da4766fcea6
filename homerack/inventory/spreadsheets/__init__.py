"""The inventory as CSV and XLSX files: the export of its tables, and their import through a plan."""
