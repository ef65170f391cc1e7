"""Write the tables, summaries and the figure of the documents from the files in results/."""
