"""How many pairs does a fast weight memory hold, and does it replace old values? Twenty seeds beside single runs."""
