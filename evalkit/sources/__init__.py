"""What users name as data, as parts that are read again and again in bounded memory: files, stores, tables, SQL."""
