"""Train comparison students of a frozen teacher."""
