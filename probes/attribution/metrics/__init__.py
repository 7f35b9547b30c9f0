"""Measures of attribution maps: faithfulness, localisation, spectrum, randomisation."""
