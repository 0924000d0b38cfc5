"""How complete data are: what of each column is there, absent for a reason, or simply not there; and who needs it."""
