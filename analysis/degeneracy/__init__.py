"""How much networks that learnt the same task differ: in answers, in dynamics, in weights."""
