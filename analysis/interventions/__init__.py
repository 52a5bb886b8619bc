"""What answers depend on: effects of interventions over members."""
