"""Write the tables, summaries and the figures of the documents from the files in results/."""
