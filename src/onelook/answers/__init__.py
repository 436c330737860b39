"""What users read: every answer prints, draws and serialises itself."""
