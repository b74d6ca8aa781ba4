"""What a person says of the glomeruli that were found: kept beside the results, exported as annotations."""
